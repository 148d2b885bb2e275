//! What a form of ours sends.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use zeroize::Zeroizing;

use crate::body;
use crate::error::WebError;

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
