//! How an error is answered: by its class.

use domicile_providers::ProviderError;

pub use domicile_providers::Class;

/// An error that knows its class.
pub trait Classify {
    /// The class.
    fn class(&self) -> Class;
}

impl Classify for ProviderError {
    fn class(&self) -> Class {
        Self::class(self)
    }
}

/// The class as a label value in metrics and logs.
pub fn label(class: Class) -> &'static str {
    match class {
        Class::Transient => "transient",
        Class::Conflict => "conflict",
        Class::Config => "config",
        Class::Provider => "provider",
        Class::Bug => "bug",
    }
}
