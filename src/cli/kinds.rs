//! The four kinds, and the names people give them.

use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};

use crate::error::CliError;

/// A kind of Domicile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A place with database servers.
    Region,
    /// A tenant's database and its Secret.
    TenantPlacement,
    /// What moves a server's tenants, and when.
    FailoverPolicy,
    /// One move.
    FailoverOperation,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Region,
        Self::TenantPlacement,
        Self::FailoverPolicy,
        Self::FailoverOperation,
    ];

    /// The kind as the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Region => "Region",
            Self::TenantPlacement => "TenantPlacement",
            Self::FailoverPolicy => "FailoverPolicy",
            Self::FailoverOperation => "FailoverOperation",
        }
    }

    /// The plural in paths and for kubectl.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Region => "regions",
            Self::TenantPlacement => "tenantplacements",
            Self::FailoverPolicy => "failoverpolicies",
            Self::FailoverOperation => "failoveroperations",
        }
    }

    /// The word that this CLI uses in `KIND/NAME`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Region => "region",
            Self::TenantPlacement => "placement",
            Self::FailoverPolicy => "policy",
            Self::FailoverOperation => "operation",
        }
    }

    fn short(self) -> &'static str {
        match self {
            Self::Region => "rgn",
            Self::TenantPlacement => "tp",
            Self::FailoverPolicy => "fop",
            Self::FailoverOperation => "fo",
        }
    }

    /// Reads what a person calls a kind: its word, name, plural or short name, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let text = text.split('.').next().unwrap_or_default();
        let known = |kind: &Self| {
            let name = kind.name().to_ascii_lowercase();
            let names = [kind.word(), kind.plural(), kind.short(), name.as_str()];
            names.contains(&text)
        };
        let plural_words = ["placements", "policies", "operations"];
        let plural = plural_words
            .iter()
            .position(|word| *word == text)
            .map(|at| Self::ALL[at + 1]);
        Self::ALL.into_iter().find(known).or(plural)
    }

    /// Splits `KIND/NAME`.
    ///
    /// # Errors
    /// When the text is not of that form or the kind is not one of ours.
    pub fn parse_reference(text: &str) -> Result<(Self, String), CliError> {
        let wrong = || {
            let words = Self::ALL.map(Self::word).join(", ");
            CliError::Usage(format!("{text:?} must be KIND/NAME; kinds: {words}"))
        };
        let (kind, name) = text.split_once('/').ok_or_else(wrong)?;
        let kind = Self::parse(kind).ok_or_else(wrong)?;
        if name.is_empty() || name.contains('/') {
            return Err(wrong());
        }
        Ok((kind, name.to_owned()))
    }

    /// How the API server addresses the kind.
    pub fn resource(self) -> ApiResource {
        ApiResource {
            group: domicile_api::meta::GROUP.to_owned(),
            version: domicile_api::meta::VERSION.to_owned(),
            api_version: api_version(),
            kind: self.name().to_owned(),
            plural: self.plural().to_owned(),
        }
    }

    /// The objects of this kind; `namespace` counts only for placements, `None` means all.
    pub fn api(self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = self.resource();
        match (self, namespace) {
            (Self::TenantPlacement, Some(namespace)) => {
                Api::namespaced_with(client.clone(), namespace, &resource)
            }
            (Self::TenantPlacement, None)
            | (Self::Region | Self::FailoverPolicy | Self::FailoverOperation, _) => {
                Api::all_with(client.clone(), &resource)
            }
        }
    }
}

/// Group and version, as in `apiVersion`.
pub fn api_version() -> String {
    format!(
        "{}/{}",
        domicile_api::meta::GROUP,
        domicile_api::meta::VERSION
    )
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn people_name_kinds_in_many_ways() {
        for text in [
            "policy",
            "policies",
            "fop",
            "FailoverPolicy",
            "failoverpolicies.domicile.dev",
        ] {
            assert_eq!(Kind::parse(text), Some(Kind::FailoverPolicy), "{text}");
        }
        assert_eq!(Kind::parse("operations"), Some(Kind::FailoverOperation));
        assert_eq!(Kind::parse("deployment"), None);
    }

    #[test]
    fn a_reference_needs_a_kind_and_one_name() {
        assert_eq!(
            Kind::parse_reference("tp/acme").ok(),
            Some((Kind::TenantPlacement, "acme".to_owned()))
        );
        for bad in ["acme", "tp/", "tp/a/b", "pod/a"] {
            assert!(Kind::parse_reference(bad).is_err(), "{bad}");
        }
    }
}
