//! Reads an operation's description off its handler's type.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use fallgate_authority::{AnySignIn, Newcomer, Permit, Principal, SignedIn, SigningOut};
use http::{HeaderMap, HeaderName};
use utoipa::openapi::path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    ContentBuilder, Ref, RefOr, Required, Response, ResponseBuilder, ResponsesBuilder, Schema,
};
use utoipa::{IntoParams, ToSchema};

use super::words;
use super::{component, oauth_refusal, text_header};
use crate::answer::{Created, NoContent, Nothing};
use crate::body::JsonBody;
use crate::cookie::SetCookie;
use crate::doors::{Access, Public};
use crate::error::WebError;
use crate::oauth::{self, OAuthError, Parameters};

/// The carriers of a credential, as security schemes.
const CARRIERS: [&str; 3] = ["bearer", "basic", "cookie"];

/// One operation as it is being described.
pub(crate) struct Draft {
    operation: OperationBuilder,
    responses: BTreeMap<u16, RefOr<Response>>,
    schemas: Vec<(String, RefOr<Schema>)>,
    /// Whether its refusals are in OAuth's words.
    is_oauth: bool,
}

impl Draft {
    /// An operation at `path`; `handler` is the handler's full name, `says` what it does in a sentence.
    pub(crate) fn new(path: &str, handler: &str, says: &str) -> Self {
        let mut names = handler.rsplit("::");
        let (verb, noun) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        let mut operation = OperationBuilder::new()
            .operation_id(Some(format!("{noun}_{verb}")))
            .tag(noun)
            .summary(Some(says));
        for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(words::in_path(name))),
            );
        }
        let is_oauth = oauth::is_under(path);
        let mut draft = Self { operation, responses: BTreeMap::new(), schemas: Vec::new(), is_oauth };
        draft.refuses(&[400, 503]);
        if path != "/health" {
            // The listener asks for a Host of ours everywhere else.
            draft.refuses(&[421]);
        }
        draft
    }

    /// Who may come in.
    pub(crate) fn admits(&mut self, access: Access) {
        let (needs, scope) = match access {
            Access::Public => {
                // Not empty but with an empty requirement: everybody may come, whatever they present.
                self.edit(|operation| operation.security(SecurityRequirement::default()));
                return;
            }
            Access::AnyCredential => ("Needs a credential, with any scope.".to_owned(), None),
            Access::Login => ("Needs a sign-in.".to_owned(), None),
            Access::Scope(scope) => (format!("Needs the scope `{}`.", scope.name()), Some(scope.name())),
        };
        self.edit(|operation| operation.description(Some(needs)));
        // Whoever they are and whatever they may do: they can be cut.
        self.refuses(&[401, 403]);
        for carrier in CARRIERS {
            self.edit(|operation| operation.security(SecurityRequirement::new(carrier, scope)));
        }
    }

    /// It may be refused with one of these.
    pub(crate) fn refuses(&mut self, statuses: &[u16]) {
        for status in statuses {
            // Before anything is asked for its words the listener has refused a wrong Host.
            let refusal = if self.is_oauth && *status != 421 {
                let schema = self.refer_to::<oauth::Refused>();
                oauth_refusal(*status, schema).into()
            } else {
                RefOr::Ref(Ref::from_response_name(component(*status)))
            };
            self.responses.insert(*status, refusal);
        }
    }

    /// Answers with this status, and JSON if any.
    pub(crate) fn answer(&mut self, status: u16, schema: Option<RefOr<Schema>>) {
        let says = match status {
            201 => "Made.",
            202 => "Taken, and not decided yet.",
            204 => "Done.",
            _ => "As asked.",
        };
        let mut response = ResponseBuilder::new().description(says);
        if let Some(schema) = schema {
            let content = ContentBuilder::new().schema(Some(schema)).build();
            response = response.content("application/json", content);
        }
        self.responses.insert(status, response.build().into());
    }

    /// Answers with this status too, when more has to happen first.
    pub(crate) fn also_answers<T: ToSchema>(&mut self, status: u16) {
        let schema = self.refer_to::<T>();
        self.answer(status, Some(schema));
    }

    /// What is answered when all goes well has this header field too.
    fn sends(&mut self, name: &str, says: &str) {
        let done = self.responses.iter_mut().find(|(status, _)| **status < 300);
        if let Some((_, RefOr::T(response))) = done {
            response.headers.insert(name.to_owned(), text_header(says).into());
        }
    }

    /// The operation, and the schemas that it refers to.
    pub(crate) fn finish(self) -> (Operation, Vec<(String, RefOr<Schema>)>) {
        let responses = self.responses.into_iter().map(|(status, response)| (status.to_string(), response));
        let responses = ResponsesBuilder::new().responses_from_iter(responses).build();
        (self.operation.responses(responses).build(), self.schemas)
    }

    /// A reference to a type's schema, which is kept among the components.
    fn refer_to<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let name = T::name();
        T::schemas(&mut self.schemas);
        self.schemas.push((name.to_string(), T::schema()));
        RefOr::Ref(Ref::from_schema_name(name))
    }

    fn edit(&mut self, edit: impl FnOnce(OperationBuilder) -> OperationBuilder) {
        self.operation = edit(std::mem::take(&mut self.operation));
    }
}

/// A handler whose arguments and answer tell what a client must know.
pub(crate) trait Described<T> {
    fn describe(draft: &mut Draft);
}

/// An argument of a handler.
pub(crate) trait Argument {
    /// What it asks of a request. Most ask nothing that a client must know.
    fn describe(_draft: &mut Draft) {}
}

/// What a handler gives back when it has done what was asked.
pub(crate) trait Answer {
    fn describe(draft: &mut Draft);
}

macro_rules! described {
    ($($argument:ident),*) => {
        impl<H, F, M, $($argument),*> Described<(M, $($argument,)*)> for H
        where
            H: FnOnce($($argument),*) -> F,
            F: Future,
            F::Output: Answer,
            $($argument: Argument),*
        {
            fn describe(draft: &mut Draft) {
                $($argument::describe(draft);)*
                F::Output::describe(draft);
            }
        }
    };
}

described!(A1);
described!(A1, A2);
described!(A1, A2, A3);
described!(A1, A2, A3, A4);
described!(A1, A2, A3, A4, A5);

// Who may come in is the row's `Access`, which the table reads off the same types.
impl Argument for Public {}
impl Argument for Principal {}
impl Argument for SignedIn {}
impl Argument for AnySignIn {}
impl Argument for SigningOut {}
impl Argument for HeaderMap {}
impl<A> Argument for Permit<A> {}
impl<T> Argument for State<T> {}
impl<T> Argument for Extension<T> {}

/// A page of another site may not sign anybody in.
impl Argument for Newcomer {
    fn describe(draft: &mut Draft) {
        draft.refuses(&[403]);
    }
}

/// What does not name anything is 404, whatever form it has.
impl<T> Argument for Path<T> {
    fn describe(draft: &mut Draft) {
        draft.refuses(&[404]);
    }
}

impl<T: IntoParams> Argument for Result<Query<T>, QueryRejection> {
    fn describe(draft: &mut Draft) {
        for parameter in T::into_params(|| Some(ParameterIn::Query)) {
            draft.edit(|operation| operation.parameter(parameter));
        }
    }
}

impl<T: ToSchema> Argument for JsonBody<T> {
    fn describe(draft: &mut Draft) {
        let content = ContentBuilder::new().schema(Some(draft.refer_to::<T>())).build();
        let body =
            RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True));
        draft.edit(|operation| operation.request_body(Some(body.build())));
        draft.refuses(&[413, 415]);
    }
}

impl<T: ToSchema> Argument for Parameters<T> {
    fn describe(draft: &mut Draft) {
        let content = ContentBuilder::new().schema(Some(draft.refer_to::<T>())).build();
        let body = RequestBodyBuilder::new()
            .content("application/x-www-form-urlencoded", content)
            .required(Some(Required::True));
        draft.edit(|operation| operation.request_body(Some(body.build())));
        draft.refuses(&[413]);
    }
}

impl<T: Answer> Answer for Result<T, OAuthError> {
    fn describe(draft: &mut Draft) {
        T::describe(draft);
    }
}

impl<T: Answer> Answer for Result<T, WebError> {
    fn describe(draft: &mut Draft) {
        T::describe(draft);
    }
}

impl<T: ToSchema> Answer for Json<T> {
    fn describe(draft: &mut Draft) {
        let schema = draft.refer_to::<T>();
        draft.answer(200, Some(schema));
    }
}

impl<T: ToSchema> Answer for Created<T> {
    fn describe(draft: &mut Draft) {
        let schema = draft.refer_to::<T>();
        draft.answer(201, Some(schema));
    }
}

impl Answer for Nothing {
    fn describe(draft: &mut Draft) {
        draft.answer(200, None);
    }
}

impl Answer for NoContent {
    fn describe(draft: &mut Draft) {
        draft.answer(204, None);
    }
}

impl<T: Answer> Answer for (SetCookie, T) {
    fn describe(draft: &mut Draft) {
        T::describe(draft);
        draft.sends("Set-Cookie", "Sets the cookie of the sign-in, or takes it back.");
    }
}

/// With header fields that every answer may have.
impl<T: Answer, const N: usize> Answer for ([(HeaderName, &'static str); N], T) {
    fn describe(draft: &mut Draft) {
        T::describe(draft);
    }
}
