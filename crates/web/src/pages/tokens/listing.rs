//! Which tokens a list shows, as its address says it.

use fallgate_domain::id::CredentialId;
use fallgate_domain::user::Username;

/// Where the list is.
const HOME: &str = "/tokens";

/// Which tokens are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// This user's only, for admins.
    pub(super) owner: Option<Username>,
    /// Those that come after this one.
    pub(super) after: Option<CredentialId>,
    /// Also those that are expired or revoked.
    pub(super) with_ended: bool,
}

impl Listing {
    /// Out of a page's query; what cannot be read does not count.
    pub(super) fn read(query: &str) -> Self {
        let mut listing = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "owner" => listing.owner = value.parse().ok(),
                "after" => listing.after = value.parse().ok(),
                "ended" => listing.with_ended = value == "1",
                _ => {}
            }
        }
        listing
    }

    /// The list's address.
    pub(super) fn address(&self) -> String {
        self.at(HOME)
    }

    /// The address of something that leads back to the list.
    pub(super) fn at(&self, path: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(owner) = &self.owner {
            query.append_pair("owner", owner.as_str());
        }
        if let Some(after) = self.after {
            query.append_pair("after", &after.to_string());
        }
        if self.with_ended {
            query.append_pair("ended", "1");
        }
        let query = query.finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// The address of the next page.
    pub(super) fn older_than(&self, last: CredentialId) -> String {
        Self { after: Some(last), ..self.clone() }.address()
    }

    /// The address of the first page.
    pub(super) fn newest(&self) -> String {
        Self { after: None, ..self.clone() }.address()
    }

    /// The address of the same list with ended ones, or without them.
    pub(super) fn other_ended(&self) -> String {
        Self { with_ended: !self.with_ended, after: None, ..self.clone() }.address()
    }

    pub(super) fn is_of(&self, username: &Username) -> bool {
        self.owner.as_ref() == Some(username)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_written_as_it_is_read() {
        let id = "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b";
        for query in ["", "owner=ada", "ended=1", &format!("owner=ada&after={id}&ended=1")] {
            let listing = Listing::read(query);
            assert_eq!(listing.address().trim_start_matches("/tokens").trim_start_matches('?'), query);
        }
        assert_eq!(Listing::read("owner=<b>&after=x&ended=yes&done=x"), Listing::default());
    }
}
