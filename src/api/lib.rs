//! What a user writes: the custom resources.
