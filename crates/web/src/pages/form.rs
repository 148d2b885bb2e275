//! What a form of ours sends.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::Response;
use http::{StatusCode, header};
use zeroize::Zeroizing;

use crate::body;
use crate::error::{WebError, sentence, status_of};

/// A form's body. Refused in this order: too large 413, not called a form 415, not readable 400.
pub(crate) struct FormBody(Bytes);

impl FormBody {
    /// Its fields, in order.
    pub(crate) fn fields(&self) -> form_urlencoded::Parse<'_> {
        form_urlencoded::parse(&self.0)
    }

    /// A field that may be left out; what is there twice is as if it were not there.
    pub(crate) fn optional(&self, name: &str) -> Option<Zeroizing<String>> {
        self.text(name).ok()
    }

    /// A field that must be there once.
    pub(crate) fn text(&self, name: &str) -> Result<Zeroizing<String>, WebError> {
        let mut values = self.fields().filter(|(told, _)| told == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Ok(Zeroizing::new(value.into_owned())),
            _ => Err(WebError::BadRequest(format!("The form needs one field {name}."))),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for FormBody {
    type Rejection = WebError;

    async fn from_request(request: Request, state: &S) -> Result<Self, WebError> {
        let is_form = body::is_called(&request, "application/x-www-form-urlencoded");
        let bytes = body::read(request, state).await?;
        if is_form { Ok(Self(bytes)) } else { Err(WebError::NotForm) }
    }
}

/// What is wrong with what was typed: by field, in the order of the form.
#[derive(Debug)]
pub(crate) struct Troubles {
    found: Vec<(&'static str, String)>,
    status: StatusCode,
    retry_after: Option<u64>,
}

impl Default for Troubles {
    fn default() -> Self {
        Self { found: Vec::new(), status: StatusCode::OK, retry_after: None }
    }
}

impl Troubles {
    /// What an act was refused for, shown by that field. Whoever may not act at all is told so elsewhere.
    pub(crate) fn of(field: &'static str, error: WebError) -> Result<Self, WebError> {
        if matches!(error, WebError::Refused(_)) {
            return Err(error);
        }
        let retry_after = error.retry_after();
        let problem = error.problem();
        let status = status_of(&problem);
        Ok(Self { found: vec![(field, problem.detail)], status, retry_after })
    }

    pub(crate) fn add(&mut self, field: &'static str, error: &impl std::fmt::Display) {
        self.found.push((field, sentence(error)));
        self.status = StatusCode::BAD_REQUEST;
    }

    /// The value, or the trouble with it.
    pub(crate) fn note<T, E: std::fmt::Display>(
        &mut self,
        field: &'static str,
        read: Result<T, E>,
    ) -> Option<T> {
        read.inspect_err(|error| self.add(field, error)).ok()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn at(&self, field: &str) -> Option<&str> {
        self.found.iter().find(|(of, _)| *of == field).map(|(_, text)| text.as_str())
    }

    /// Whether it is the first bad field, where one goes on typing.
    pub(crate) fn begin_at(&self, field: &str) -> bool {
        self.found.first().is_some_and(|(of, _)| *of == field)
    }

    /// The page that shows them, with the status that goes with them.
    pub(crate) fn mark(&self, mut response: Response) -> Response {
        if !self.is_empty() {
            *response.status_mut() = self.status;
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
