//! Why an exchange failed, and what the client is told of it.

use std::io;

use fallgate_authority::Ended;
use fallgate_domain::problem::Problem;

use crate::ingress::refuse::Answer;
use crate::ingress::route::{Route, Upstream};
use crate::wire::dial::DialError;
use crate::wire::http1::Malformed;

/// Why an exchange failed.
#[derive(Debug)]
pub(super) enum Failure {
    Dial(DialError),
    /// The upstream closed before it answered, or its connection broke.
    UpstreamBroke(io::Error),
    /// The upstream's answer cannot be read.
    UpstreamMalformed(Malformed),
    /// The client's body broke the framing.
    ClientMalformed(Malformed),
    /// The client left.
    ClientGone,
    /// The client neither sends what it announced nor reads what it asked for.
    ClientStalled,
    /// What the caller's passage rests on has ended.
    Ended(Ended),
}

impl Failure {
    /// What the client is told: nothing of the upstream's address or the system's words.
    pub(super) fn answer(&self, route: &Route, upstream: &Upstream) -> Answer {
        let (name, upstream) = (&route.policy.name, &upstream.origin);
        match self {
            Self::Ended(ended) => Answer::from(&ended.refusal()),
            Self::ClientMalformed(malformed) => Answer::from(*malformed),
            Self::ClientStalled => Problem::new(408, "The request's body took too long to arrive.").into(),
            Self::ClientGone => Problem::new(400, "The request broke off.").into(),
            // The log is told of it now and then.
            Self::Dial(DialError::NoRoom) => {
                Problem::new(503, "The gate has no room for another connection now; try again.").into()
            }
            Self::Dial(error) => {
                tracing::warn!(route = %name, %upstream, %error, "upstream not reached");
                match error {
                    DialError::TimedOut(_) => {
                        Problem::new(504, format!("The upstream of {name} did not answer in time.")).into()
                    }
                    DialError::Refused(_) | DialError::NoRoom => {
                        Problem::new(502, format!("The upstream of {name} is not reachable.")).into()
                    }
                    DialError::NoTls(_) => {
                        Problem::new(502, format!("The upstream of {name} cannot be trusted.")).into()
                    }
                }
            }
            Self::UpstreamBroke(error) => {
                tracing::warn!(route = %name, %upstream, %error, "upstream broke off");
                Problem::new(502, format!("The upstream of {name} broke off without an answer.")).into()
            }
            Self::UpstreamMalformed(malformed) => {
                let reason = malformed.reason;
                tracing::warn!(route = %name, %upstream, reason, "upstream answered nonsense");
                Problem::new(502, format!("The upstream of {name} sent an answer that cannot be read."))
                    .into()
            }
        }
    }
}
