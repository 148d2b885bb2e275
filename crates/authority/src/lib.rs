//! Who you are, what you may do, and when that ends.
//!
//! One [`Verifier`] answers every door. A [`Principal`] cannot be made anywhere else:
//!
//! ```compile_fail
//! // Its fields are private, so a literal does not compile.
//! let forged = fallgate_authority::Principal { entry: todo!(), lease: todo!() };
//! ```
//! ```compile_fail
//! // There is no default caller.
//! let nobody = fallgate_authority::Principal::default();
//! ```
//! ```compile_fail
//! // Nor can one be read from a request's body.
//! fn parse<'a, T: serde::Deserialize<'a>>() {}
//! parse::<fallgate_authority::Principal>();
//! ```
//! ```compile_fail
//! // A permit comes from a principal, never from thin air.
//! let permit = fallgate_authority::Permit::<fallgate_authority::actions::WriteTokens>::new();
//! ```
//!
//! The names in these examples do exist (a misspelt one would not compile either):
//!
//! ```
//! use fallgate_authority::{Permit, Principal, actions::WriteTokens};
//! fn caller(permit: &Permit<WriteTokens>) -> &Principal {
//!     permit.principal()
//! }
//! ```

mod accounts;
pub mod actions;
mod agent_entry;
mod agents;
mod alarm;
mod assertion;
mod caller;
mod closing;
mod consent;
mod cookie;
mod cuts;
mod cutting;
mod device;
mod device_login;
mod ending;
mod enter;
mod entry;
mod fields;
mod flow;
mod fresh;
mod halt;
mod hash_queue;
mod hasher;
mod import;
mod imported_hash;
mod internal;
mod introspect;
mod keys;
mod knock;
mod lease;
mod live;
mod login_throttle;
mod logins;
mod mint;
mod network;
mod old_link;
mod pairing;
mod passphrase;
mod permit;
mod policy;
mod presented;
mod principal;
mod refusal;
mod refusals;
mod registrar;
mod same_origin;
mod setup;
mod signin;
mod stream_log;
mod sync;
mod throttle;
mod tokens;
mod trail;
mod upkeep;
mod uses;
mod verifier;
mod view;
mod workers;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "model")]
#[doc(hidden)]
pub mod model;

pub use accounts::{CheckPassphraseError, UserError, UserOrder, UserPatch};
pub use agents::{AgentError, AgentNow, AgentOrder};
pub use alarm::Alarm;
pub use caller::{AnySignIn, Newcomer, Passerby, SignedIn, SigningOut, Somebody};
pub use closing::Closed;
pub use cookie::{cookie_name, only_cookie};
pub use cutting::{CutError, CutOrder, CutPlaced};
pub use device::readable_user_agent;
pub use device_login::{DeviceAsking, DeviceLoginError, DeviceOrder, StartedDeviceLogin};
pub use ending::Ending;
pub use enter::{EnterError, EnterOrder, Entered, Entrant};
pub use fields::{Fields, Occurs, asks_for_upgrade, is_navigation, occurs};
pub use halt::Unwritten;
pub use hasher::HasherBusy;
pub use import::{ImportError, LlmuxImport, LlmuxToken, LlmuxUser};
pub use imported_hash::{InvalidScryptHash, ScryptHash};
pub use internal::InternalTokenError;
pub use introspect::{IntrospectError, Introspected};
pub use keys::{
    Confirmed, KeyError, KeyList, KnownRootKey, KnownSigningKey, PublishedKey, SigningKeyState, Unlocked,
};
pub use knock::{Challenge, InvalidChallenge, Knock, knock_cookie_name};
pub use lease::{Ended, Lease, LeaseHandle, LeaseHolder};
pub use live::{CloseError, CloseOutcome, LiveStream};
pub use mint::{MintError, MintOrder, MintedToken};
pub use old_link::{LinkError, LinkSignIn, LinkVisitor, brings_credential};
pub use pairing::{
    Claim, Collected, PairingError, PairingNow, PairingOffer, PairingSide, PairingStatus, RedeemOrder,
    Redeemed, StartedPairing, pairing_cookie_name,
};
pub use passphrase::{HashFailed, Passphrase, WeakPassphrase};
pub use permit::{Action, CameByHttps, PeerAddress, Permit, RoutePolicy, Successor, Terms};
pub use policy::Policy;
pub use presented::{Presented, RequestFacts};
pub use principal::Principal;
pub use refusal::{CHALLENGE, Denial, Refusal};
pub use registrar::{Actor, Registrar, RevokeOutcome};
pub use same_origin::{Source, is_origin};
pub use setup::{SetupError, SetupOrder};
pub use signin::{NewSignIn, SignInError, SignInOrder};
pub use throttle::Throttled;
pub use tokens::{SecretError, TokenError};
pub use trail::{TrailError, WholeTrail};
pub use uses::UseNotes;
pub use verifier::Verifier;
pub use workers::{InspectedWorker, MintedWorker, WorkerEnd, WorkerError, WorkerOrder, WorkerRevocation};
