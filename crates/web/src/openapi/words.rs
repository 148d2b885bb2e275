//! Schemas of the words that the domain defines. The domain itself knows nothing of OpenAPI: a field of one of its
//! types says `#[schema(value_type = words::…)]`. The tests hold each to what the domain really takes.

use std::borrow::Cow;

use fallgate_authority::PairingStatus as PairingStatuses;
use fallgate_domain::credential::{CredentialKind, Status};
use fallgate_domain::live::StreamKind as StreamKinds;
use fallgate_domain::scope::PlainScope;
use fallgate_domain::user::Role;
use utoipa::openapi::schema::{SchemaFormat, SchemaType};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// White space as names are trimmed of it, and what no name may hold. Spelt out, since `\s` and `\p{…}` mean something
/// else, or nothing, to the next implementation.
const BLANK: &str = r"\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";
const CONTROL: &str = r"\u0000-\u001f\u007f-\u009f";
/// The same in JavaScript and in Python.
const ROUTE: &str = "[a-z0-9][a-z0-9_-]{0,63}";

macro_rules! word {
    ($(#[doc = $doc:literal])* $name:ident: $schema:expr) => {
        $(#[doc = $doc])*
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = concat!($($doc),*);
                Schema::Object($schema.description(Some(words.trim())).build()).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    };
}

word! {
    /// How somebody signs in. Never changes.
    Username: text().pattern(Some("^[a-z0-9_-]{1,32}$"))
}

word! {
    /// How an agent is called. Never changes.
    AgentName: text().pattern(Some("^[a-z0-9_-]{1,64}$"))
}

word! {
    /// A name for people: 1 to 80 characters after trimming, no control characters.
    Name: text().pattern(Some(name_pattern()))
}

word! {
    /// A secret text. No answer holds one.
    Secret: text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Password))).write_only(true)
}

word! {
    /// A passphrase: 12 bytes (or what is configured) to 1,024, and not easy to guess.
    NewPassphrase: text()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
        // Counted in bytes, of which a character has up to four; and a configured minimum may be eight.
        .min_length(Some(2))
        .max_length(Some(1_024))
        .write_only(true)
}

word! {
    /// A public name, for good.
    Id: text().format(Some(SchemaFormat::Custom("uuid".to_owned())))
}

word! {
    /// A time, RFC 3339 in UTC.
    Time: text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

word! {
    /// What a person may do at most.
    PersonsRole: text().enum_values(Some([Role::Admin, Role::User].map(Role::name)))
}

word! {
    /// A person's role, or the kind of a credential that nobody owns.
    CallersRole: text().enum_values(Some(["admin", "user", "internal", "legacy", "worker"]))
}

word! {
    /// What a credential is.
    Kind: text().enum_values(Some([
        CredentialKind::Token,
        CredentialKind::Login,
        CredentialKind::Worker,
        CredentialKind::Internal,
        CredentialKind::Legacy,
    ].map(CredentialKind::name)))
}

word! {
    /// Where a credential stands in its life.
    Standing: text().enum_values(Some([Status::Active, Status::Expired, Status::Revoked].map(Status::name)))
}

word! {
    /// What flows in a stream.
    StreamKind: text().enum_values(Some(StreamKinds::ALL.map(StreamKinds::name)))
}

word! {
    /// Where a pairing stands: `waiting` for a device, which then has `asked`, was `allowed` and is `done`; or it was
    /// `refused`, came too `late`, is `worn` out by wrong tries, or was `withdrawn`.
    PairingStatus: text().enum_values(Some(PairingStatuses::ALL.map(PairingStatuses::name)))
}

word! {
    /// A route's name.
    RouteName: text().pattern(Some(format!("^{ROUTE}$")))
}

word! {
    /// Something a credential may be used for: one of the fixed scopes, or `route:` and a route's name.
    Scope: text().pattern(Some(scope_pattern()))
}

word! {
    /// What is cut: `user:` and a username, `credential:` and an id, `agent:` and a name, `route:` and a route's name,
    /// or `everything`.
    CutTarget: text().pattern(Some(cut_target_pattern()))
}

word! {
    /// Where a worker token may be used: `fallgate` is this gate's own doors, `egress` the way out.
    Audience: text().pattern(Some(format!("^(fallgate|egress|route:{ROUTE})$")))
}

word! {
    /// How long a worker token lasts, a week at most: in seconds, or as a duration such as `2h`.
    Life: ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Integer, Type::String]))
        .minimum(Some(1_u64))
        .maximum(Some(604_800_u64))
        .pattern(Some("^[0-9]{1,6}[smhdw]$"))
}

word! {
    /// Why something was cut: one line.
    CutReason: text().pattern(Some(cut_reason_pattern()))
}

/// A refusal (RFC 9457).
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "it describes what `fallgate_domain::problem::Problem` writes; a test compares them"
)]
pub(crate) struct Problem {
    /// `about:blank`: the status says it all.
    r#type: String,
    /// The status code's own words.
    title: String,
    /// The status code.
    status: u16,
    /// What happened this time, and what to do.
    detail: String,
}

/// A recorded event of the audit trail.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "it describes what `fallgate_domain::audit::Event` writes; a test compares them"
)]
pub(crate) struct Event {
    /// Its place in the trail, from 1, without gaps.
    seq: u64,
    /// When.
    at: Time,
    /// What, dotted.
    action: String,
    /// Who.
    actor: String,
    /// With which credential.
    #[schema(required = true)]
    credential: Option<Id>,
    /// To what.
    target: String,
    /// `ok`, or why not.
    outcome: String,
    /// From where.
    #[schema(required = true)]
    ip: Option<String>,
    /// More, by name.
    #[schema(value_type = Object)]
    detail: (),
    /// The hash of the event before; 64 zeros for the first.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    prev: String,
    /// SHA-256 over the RFC 8785 form of this event without `hash`.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    hash: String,
}

/// The schema of the varying part of a path.
pub(super) fn in_path(name: &str) -> RefOr<Schema> {
    match name {
        "id" => Id::schema(),
        "u" => Username::schema(),
        "name" => AgentName::schema(),
        _ => Schema::Object(text().build()).into(),
    }
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn name_pattern() -> String {
    // Blanks at the ends are trimmed; control characters among them are blanks before they are anything else.
    let (inner, end) = (format!("[^{CONTROL}]"), format!("[^{CONTROL}{BLANK}]"));
    format!("^[{BLANK}]*{end}({inner}{{0,78}}{end})?[{BLANK}]*$")
}

fn scope_pattern() -> String {
    let fixed = PlainScope::ALL.map(PlainScope::name).join("|");
    format!("^({fixed}|route:{ROUTE})$")
}

fn cut_target_pattern() -> String {
    const ID: &str = "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}";
    format!("^(user:[a-z0-9_-]{{1,32}}|credential:{ID}|agent:[a-z0-9_-]{{1,64}}|route:{ROUTE}|everything)$")
}

fn cut_reason_pattern() -> String {
    // As a name, but longer, and without what turns the direction of a text around it.
    let misleading = r"\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069";
    let inner = format!("[^{CONTROL}{misleading}]");
    let end = format!("[^{CONTROL}{misleading}{BLANK}]");
    format!("^[{BLANK}]*{end}({inner}{{0,198}}{end})?[{BLANK}]*$")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use fallgate_domain::audit::{Action, FIRST_PREV, NewEvent};
    use fallgate_domain::clock::Timestamp;
    use serde::Serialize;
    use serde_json::Value;

    use super::*;

    /// What is written in one place and described in another has the same members, all of them required.
    #[track_caller]
    fn assert_described<T: PartialSchema>(written: impl Serialize) {
        let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        let written = members(&serde_json::to_value(written).unwrap());
        let schema = serde_json::to_value(T::schema()).unwrap();
        assert_eq!(members(&schema["properties"]), written);
        let required = schema["required"].as_array().unwrap().iter();
        assert_eq!(required.map(|name| name.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(), written);
    }

    #[test]
    fn what_the_domain_writes_is_described_member_by_member() {
        assert_described::<Problem>(fallgate_domain::problem::Problem::new(404, "gone"));
        let new = NewEvent {
            at: Timestamp::from_millis(0),
            action: Action::TokenMint,
            actor: "ada".to_owned(),
            credential: None,
            target: "x".to_owned(),
            ip: None,
            detail: BTreeMap::new(),
            author: None,
        };
        assert_described::<Event>(fallgate_domain::audit::Event::link(1, FIRST_PREV.to_owned(), new));
    }
}
