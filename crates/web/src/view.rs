//! What the API shows, as JSON. No view has a field for a hash or a passphrase; the one with a secret is a mint's
//! answer. The command line's `--json` prints the same shapes, and from a server it reads them.

mod agents;
mod audit;
mod cuts;
mod identity;
mod live;
mod oauth;
mod pairing;
mod tokens;
mod users;
mod workers;

pub use self::agents::{AgentList, AgentView};
pub use self::audit::{CheckpointView, EventPage};
pub use self::cuts::{ClosedView, CutList, CutView, PlacedCutView};
pub(crate) use self::identity::role_name;
pub use self::identity::{CredentialView, LoginList, LoginView, Me, WhoAmI};
pub use self::live::{LiveList, LiveView};
pub use self::oauth::{AccessTokenView, IntrospectionView, MetadataView, StartedDeviceLoginView};
pub(crate) use self::pairing::link as pairing_link;
pub use self::pairing::{ClaimView, PairingView, StartedPairingView};
pub use self::tokens::{Inspected, InspectedView, MintedView, RevokedCount, TokenList, TokenView, UserName};
pub use self::users::{EndedView, UserList, UserView};
pub use self::workers::{InspectedWorkerView, MintedWorkerView};
