//! kubectl-domicile.
