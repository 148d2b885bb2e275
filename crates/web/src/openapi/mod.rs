//! The API's description (OpenAPI 3.1), made of the table of doors and the types of its handlers.
//!
//! Nothing of it is written down a second time: who may come in, what is asked and what is answered are read off a
//! handler's arguments and answer ([`describe`]); what goes over the wire is described by the types that do
//! ([`words`], and `ToSchema` on bodies and views). The table adds one sentence, and the refusals that only the
//! handler's own work can bring about.

mod describe;
pub(crate) mod words;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use fallgate_authority::cookie_name;
use fallgate_domain::problem::{MEDIA_TYPE, title};
use http::{HeaderValue, Method, header};
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, ObjectBuilder, OpenApiBuilder, PathItem,
    PathsBuilder, Ref, RefOr, ResponseBuilder, Schema, Type,
};
use utoipa::{PartialSchema, ToSchema};

pub(crate) use self::describe::{Answer, Described, Draft};
use crate::doors::Public;

const ABOUT: &str = "An auth gateway's own doors. Times are RFC 3339 in UTC. A body has at most 64 KiB; a field that is \
    not known is refused by name. Every refusal is a problem (RFC 9457), but under `/oauth/`, \
    where it is as OAuth has it (RFC 6749). What cannot be read as HTTP/1.1, or takes too \
    long to arrive, is refused before any door is asked: 400, 408, 417, 431 or 505.";

/// The refusals that doors have in common, each a component of the description.
const REFUSALS: [(u16, &str); 11] = [
    (400, "The request cannot be read, or breaks a rule that `detail` names."),
    (401, "No credential, or one that does not stand."),
    (403, "The credential stands, but does not cover this, or a cut stops it."),
    (404, "There is no such thing."),
    (409, "It cannot be done as things are now."),
    (410, "It was there, and is over."),
    (413, "The body is longer than 64 KiB."),
    (415, "The body is not called `application/json`."),
    (421, "The Host is none of this gate's."),
    (429, "Too many tries."),
    (503, "It cannot be done now."),
];

/// `GET /api/openapi.json`: this document.
pub(crate) async fn document(_: Public) -> Document {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| crate::doors::description().into());
    Document(TEXT.clone())
}

/// The document's JSON text.
pub(crate) struct Document(Bytes);

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.0));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl Answer for Document {
    fn describe(draft: &mut Draft) {
        let anything = ObjectBuilder::new().description(Some("An OpenAPI 3.1 document.")).build();
        draft.answer(200, Some(Schema::Object(anything).into()));
    }
}

/// The description as it grows, door by door.
#[derive(Default)]
pub(crate) struct Description {
    paths: PathsBuilder,
    schemas: BTreeMap<String, RefOr<Schema>>,
}

impl Description {
    /// Adds a door.
    pub(crate) fn add(&mut self, method: &Method, path: &str, draft: Draft) {
        let Some(method) = method_of(method) else { return };
        let (operation, schemas) = draft.finish();
        for (name, schema) in schemas {
            let before = self.schemas.insert(name.clone(), schema);
            debug_assert!(
                before.is_none_or(|before| self.schemas.get(&name) == Some(&before)),
                "two are called {name}"
            );
        }
        let paths = std::mem::take(&mut self.paths);
        self.paths = paths.path(path, PathItem::new(method, operation));
    }

    /// The whole document as JSON.
    pub(crate) fn finish(self) -> String {
        let mut components = ComponentsBuilder::new()
            .schemas_from_iter(self.schemas)
            .schema(words::Problem::name(), words::Problem::schema())
            .security_scheme("bearer", http(HttpAuthScheme::Bearer, "The credential's secret."))
            .security_scheme(
                "basic",
                http(
                    HttpAuthScheme::Basic,
                    "The credential's secret as the password; the username is the owner's, or empty.",
                ),
            )
            .security_scheme(
                "cookie",
                SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
                    cookie_name(false).to_owned(),
                    format!(
                        "A sign-in's. Over https it is called `{}`. What changes something must come from a page of \
                         ours, and show it by `Sec-Fetch-Site` or `Origin`.",
                        cookie_name(true)
                    ),
                ))),
            );
        for (status, when) in REFUSALS {
            components = components.response(component(status), refusal(status, when));
        }
        let info = InfoBuilder::new()
            .title("Fallgate")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(ABOUT))
            .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()));
        let document = OpenApiBuilder::new()
            .info(info.build())
            .paths(self.paths.build())
            .components(Some(components.build()))
            .build();
        // Strings, numbers and maps with text keys: this cannot fail.
        document.to_json().unwrap_or_default()
    }
}

/// The name of a refusal among the components, such as `NotFound`.
fn component(status: u16) -> String {
    title(status).split(' ').collect()
}

fn refusal(status: u16, when: &str) -> utoipa::openapi::Response {
    refusal_as(status, when, MEDIA_TYPE, Ref::from_schema_name(words::Problem::name()).into())
}

/// The same in OAuth's words.
fn oauth_refusal(status: u16, schema: RefOr<Schema>) -> utoipa::openapi::Response {
    let when = match status {
        400 => {
            "What was sent cannot be read, or nothing is granted for it; `error` says which (RFC 6749, RFC 8628, RFC 8693)."
        }
        status => REFUSALS.iter().find(|(other, _)| *other == status).map_or("Refused.", |(_, when)| when),
    };
    refusal_as(status, when, "application/json", schema)
}

fn refusal_as(status: u16, when: &str, media_type: &str, schema: RefOr<Schema>) -> utoipa::openapi::Response {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let mut response = ResponseBuilder::new().description(when).content(media_type, content);
    if status == 401 {
        response = response.header("WWW-Authenticate", text_header("The challenge: `Bearer`."));
    }
    if matches!(status, 429 | 503) {
        response = response
            .header("Retry-After", text_header("In how many seconds to come again, where that is known."));
    }
    response.build()
}

fn http(scheme: HttpAuthScheme, says: &str) -> SecurityScheme {
    SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(says)).build())
}

/// A header field that holds text.
fn text_header(says: &str) -> Header {
    let text = ObjectBuilder::new().schema_type(Type::String);
    HeaderBuilder::new().schema(Some(text)).description(Some(says)).build()
}

fn method_of(method: &Method) -> Option<HttpMethod> {
    Some(match method.as_str() {
        "GET" => HttpMethod::Get,
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use crate::doors::{Access, rows};

    fn document() -> Value {
        serde_json::from_str(&crate::doors::description()).unwrap()
    }

    /// Every `$ref` in it.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_door_is_described_and_nothing_else_is() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        let mut described = Vec::new();
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                described.push((method.to_uppercase(), path.clone()));
                assert!(
                    ids.insert(operation["operationId"].as_str().unwrap()),
                    "{method} {path} has another's id"
                );
                assert!(operation["summary"].as_str().unwrap().ends_with('.'), "{method} {path}");
            }
        }
        let mut mounted: Vec<_> = rows()
            .iter()
            .filter(|row| !row.is_page)
            .map(|row| (row.method.to_string(), row.path.to_owned()))
            .collect();
        described.sort();
        mounted.sort();
        assert_eq!(described, mounted);
    }

    #[test]
    fn r28_who_may_come_in_is_described_as_the_handlers_type_says() {
        let document = document();
        for row in rows().iter().filter(|row| !row.is_page) {
            let operation = &document["paths"][row.path][row.method.as_str().to_lowercase()];
            let needs: Vec<_> = operation["security"].as_array().unwrap().iter().collect();
            let (scope, refusals): (Option<&str>, &[&str]) = match row.access {
                Access::Public => {
                    assert_eq!(needs, [&serde_json::json!({})], "{} {}", row.method, row.path);
                    continue;
                }
                Access::AnyCredential | Access::Login => (None, &["401", "403"]),
                Access::Scope(scope) => (Some(scope.name()), &["401", "403"]),
            };
            let wanted: Vec<_> = scope.into_iter().map(Value::from).collect();
            for (carrier, need) in ["bearer", "basic", "cookie"].into_iter().zip(&needs) {
                assert_eq!(need[carrier], Value::from(wanted.clone()), "{} {}", row.method, row.path);
            }
            for status in refusals {
                assert!(operation["responses"][status].is_object(), "{} {} {status}", row.method, row.path);
            }
        }
    }

    #[test]
    fn what_is_referred_to_is_there_and_every_refusal_is_a_problem() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        for (name, response) in document["components"]["responses"].as_object().unwrap() {
            let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{name}");
        }
        for body in [
            "Mint",
            "TokenChange",
            "Held",
            "NewUser",
            "UserChange",
            "PassphraseReset",
            "SignIn",
            "AccountChange",
            "ChangePassphrase",
            "NewCut",
        ] {
            let schema = &document["components"]["schemas"][body];
            assert_eq!(schema["additionalProperties"], false, "{body} takes what it does not know");
        }
    }
}
