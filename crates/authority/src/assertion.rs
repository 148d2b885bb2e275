//! Assertions: what an upstream is told of the caller, signed, so that it need not believe a header (requirement R13).
//!
//! Signing one for each request would cost more than the request. So one is made for a credential on a route and used
//! for a while, as long as all that it says still holds (requirement R45).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::CredentialId;
use fallgate_domain::route::RouteName;
use fallgate_domain::user::Username;
use fallgate_store::Revision;
use parking_lot::{Mutex, RwLock};
use serde_json::json;

use crate::actions::UseRoute;
use crate::keys::{KeyError, Signer};
use crate::permit::Permit;
use crate::principal::Principal;
use crate::refusal::Refusal;
use crate::verifier::Verifier;

/// What it says it is, so that nothing else signed here is taken for one, nor it for anything else (requirement R41).
const TYPE: &str = "fallgate-assertion+jwt";
/// How long an upstream may believe it, in seconds.
const GOOD_FOR: i64 = 60;
/// How long it is used before another one is made.
const USED_FOR: Duration = Duration::from_secs(30);
/// Credentials are shared out among so many parts, so that workers seldom wait for each other.
const PARTS: usize = 64;
/// For how many credentials a part keeps assertions.
const MOST_IN_PART: usize = 256;

/// The assertions in use, and the key that signs them.
pub(crate) struct Assertions {
    /// As of that revision of the store: whatever changes a key raises it.
    signer: RwLock<Option<(Revision, Arc<Signer>)>>,
    parts: Box<[Part]>,
}

type Part = Mutex<HashMap<CredentialId, Vec<Made>>>;

/// One that was made, with what it says.
struct Made {
    text: Arc<str>,
    at: Timestamp,
    route: RouteName,
    issuer: Box<str>,
    role: &'static str,
    kid: Box<str>,
}

/// What an assertion is to say.
#[derive(Clone, Copy)]
struct Claims<'a> {
    issuer: &'a str,
    route: &'a RouteName,
    principal: &'a Principal,
    role: &'static str,
    now: Timestamp,
}

impl Default for Assertions {
    fn default() -> Self {
        Self { signer: RwLock::default(), parts: (0..PARTS).map(|_| Part::default()).collect() }
    }
}

impl fmt::Debug for Assertions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Assertions(…)")
    }
}

impl Verifier {
    /// A signed word on who the caller is, for the upstream of the route that the permit is for, and for nobody else: a
    /// JWT in compact form. `issuer` is the gate's own origin. Without it nothing may go up.
    pub async fn assertion(&self, permit: &Permit<UseRoute>, issuer: &str) -> Result<Arc<str>, Refusal> {
        let route = &permit.route().ok_or(Refusal::Unavailable)?.name;
        let principal = permit.principal();
        let (role, now) = (principal.role_name(), self.clock().now());
        let signer = self.current_signer().await.map_err(|error| {
            tracing::error!(%error, "cannot sign an assertion; refusing");
            Refusal::Unavailable
        })?;
        Ok(self.assertions.get(&Claims { issuer, route, principal, role, now }, &signer))
    }

    pub(crate) async fn current_signer(&self) -> Result<Arc<Signer>, KeyError> {
        // Before the keys are read: one that is replaced meanwhile is noticed by the next caller.
        let revision = self.view.revision();
        if let Some((read_at, signer)) = &*self.assertions.signer.read()
            && *read_at == revision
        {
            return Ok(signer.clone());
        }
        let signer = Arc::new(self.registrar.signer().await?);
        *self.assertions.signer.write() = Some((revision, signer.clone()));
        Ok(signer)
    }
}

impl Assertions {
    /// The one in use, or a new one.
    fn get(&self, claims: &Claims<'_>, signer: &Signer) -> Arc<str> {
        let credential = claims.principal.credential();
        // The end of an id is random.
        let part = usize::from(credential.bytes().last().copied().unwrap_or_default()) % PARTS;
        let Some(part) = self.parts.get(part) else { return claims.signed(signer) };
        let known = part.lock().get(&credential).and_then(|made| claims.among(made, signer));
        known.unwrap_or_else(|| {
            let made = Made {
                text: claims.signed(signer),
                at: claims.now,
                route: claims.route.clone(),
                issuer: claims.issuer.into(),
                role: claims.role,
                kid: signer.kid.as_str().into(),
            };
            let text = made.text.clone();
            keep(&mut part.lock(), credential, made);
            text
        })
    }
}

/// Puts one in place of what it replaces and of what is not used any more.
fn keep(part: &mut HashMap<CredentialId, Vec<Made>>, credential: CredentialId, new: Made) {
    let used = |made: &Made| new.at.since(made.at) < USED_FOR && made.at <= new.at;
    if part.len() >= MOST_IN_PART && !part.contains_key(&credential) {
        part.retain(|_, made| made.iter().any(used));
        if part.len() >= MOST_IN_PART {
            part.clear();
        }
    }
    let made = part.entry(credential).or_default();
    made.retain(|made| used(made) && made.route != new.route);
    made.push(new);
}

impl Claims<'_> {
    /// One of these that says exactly this, and is young enough.
    fn among(&self, made: &[Made], signer: &Signer) -> Option<Arc<str>> {
        let same = |made: &&Made| {
            made.route == *self.route
                && *made.issuer == *self.issuer
                && made.role == self.role
                && *made.kid == *signer.kid
                && made.at <= self.now
                && self.now.since(made.at) < USED_FOR
        };
        made.iter().find(same).map(|made| made.text.clone())
    }

    /// A new one (RFC 7515, RFC 7519, RFC 8037).
    fn signed(&self, signer: &Signer) -> Arc<str> {
        let issued_at = self.now.millis() / 1_000;
        // Nobody is called by a name with a colon in it.
        let nobody = || format!("kind:{}", self.principal.kind().name());
        let header = json!({ "alg": "EdDSA", "kid": signer.kid, "typ": TYPE });
        let claims = json!({
            "iss": self.issuer,
            "aud": self.route.as_str(),
            "sub": self.principal.username().map_or_else(nobody, Username::to_string),
            "role": self.role,
            "cred": self.principal.credential(),
            "iat": issued_at,
            "exp": issued_at + GOOD_FOR,
        });
        let encoded = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encoded(&header), encoded(&claims));
        let signature = URL_SAFE_NO_PAD.encode(signer.sign(text.as_bytes()));
        format!("{text}.{signature}").into()
    }
}
