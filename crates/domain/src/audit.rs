//! The audit trail: the closed list of things worth recording, and the chain that shows whether any was taken out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::id::{CredentialId, SigningKeyId};
use crate::scope::PlainScope;
use crate::worker::WorkerClaims;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// An account was made.
    UserCreate,
    /// A display name was changed.
    UserRename,
    /// A role was changed.
    UserRole,
    /// An account was disabled.
    UserDisable,
    /// An account was enabled again.
    UserEnable,
    /// An account was deleted, and its credentials revoked.
    UserDelete,
    /// A passphrase was set anew.
    UserPassphrase,
    /// An agent was made.
    AgentCreate,
    /// An agent was disabled.
    AgentDisable,
    /// An agent was enabled again.
    AgentEnable,
    /// An agent was deleted.
    AgentDelete,
    /// A token was minted.
    TokenMint,
    /// A token was given another name.
    TokenRename,
    /// A token was given another end.
    TokenExpire,
    /// A token was revoked.
    TokenRevoke,
    /// All tokens of somebody, or of everybody, were revoked.
    TokenRevokeAll,
    /// Everything was sealed anew under another root key.
    KeyRotate,
    /// The root key before it opens nothing any more.
    KeyConfirm,
    /// Another key signs.
    KeyRotateSigning,
    /// The first admin was made, by whoever had the setup token.
    Setup,
    /// Somebody signed in.
    Login,
    /// Somebody tried to, with a wrong name or passphrase.
    LoginFailed,
    /// Somebody signed out.
    Logout,
    /// Somebody ended a sign-in of theirs.
    LoginRevoke,
    /// Somebody ended all their sign-ins but the one in use.
    LoginRevokeAll,
    /// A code was made by which a device may be signed in.
    PairStart,
    /// A device used it.
    PairRedeem,
    /// Whoever made it let the device in.
    PairAllow,
    /// Or did not.
    PairRefuse,
    /// Somebody approved a device that asks to be signed in as them.
    DeviceApprove,
    /// Or did not.
    DeviceRefuse,
    /// Credentials were refused: one event for each reason, network and minute.
    AccessRefused,
    /// Credentials that ended long ago were taken away.
    StoreSweep,
    /// A restored backup was accepted, and every credential in it revoked.
    StoreRestore,
    /// The machine's internal token was made, or one in the file was taken in.
    InternalTokenMake,
    /// The machine's internal token was replaced because somebody asked for it.
    InternalTokenRotate,
    /// Users and tokens of an llmux installation were taken in.
    ImportLlmux,
    /// Something was opened that outlives its first answer, such as a WebSocket; or, past the first of a burst, how many
    /// were.
    StreamOpen,
    /// It was closed.
    StreamClose,
    /// Somebody closed one.
    LiveClose,
    /// A changed config counts from here on.
    ConfigReload,
    /// A changed config makes no sense, and the one before goes on to count.
    ConfigRefused,
    /// Somebody, something or everything was cut.
    CutPlace,
    /// A cut was lifted.
    CutLift,
}

impl Action {
    /// All there are.
    pub const ALL: [Self; 44] = [
        Self::UserCreate,
        Self::UserRename,
        Self::UserRole,
        Self::UserDisable,
        Self::UserEnable,
        Self::UserDelete,
        Self::UserPassphrase,
        Self::AgentCreate,
        Self::AgentDisable,
        Self::AgentEnable,
        Self::AgentDelete,
        Self::TokenMint,
        Self::TokenRename,
        Self::TokenExpire,
        Self::TokenRevoke,
        Self::TokenRevokeAll,
        Self::KeyRotate,
        Self::KeyConfirm,
        Self::KeyRotateSigning,
        Self::Setup,
        Self::Login,
        Self::LoginFailed,
        Self::Logout,
        Self::LoginRevoke,
        Self::LoginRevokeAll,
        Self::PairStart,
        Self::PairRedeem,
        Self::PairAllow,
        Self::PairRefuse,
        Self::DeviceApprove,
        Self::DeviceRefuse,
        Self::AccessRefused,
        Self::StoreSweep,
        Self::StoreRestore,
        Self::InternalTokenMake,
        Self::InternalTokenRotate,
        Self::ImportLlmux,
        Self::StreamOpen,
        Self::StreamClose,
        Self::LiveClose,
        Self::ConfigReload,
        Self::ConfigRefused,
        Self::CutPlace,
        Self::CutLift,
    ];

    /// As written in the trail: dotted, noun first.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UserCreate => "user.create",
            Self::UserRename => "user.rename",
            Self::UserRole => "user.role",
            Self::UserDisable => "user.disable",
            Self::UserEnable => "user.enable",
            Self::UserDelete => "user.delete",
            Self::UserPassphrase => "user.passphrase",
            Self::AgentCreate => "agent.create",
            Self::AgentDisable => "agent.disable",
            Self::AgentEnable => "agent.enable",
            Self::AgentDelete => "agent.delete",
            Self::TokenMint => "token.mint",
            Self::TokenRename => "token.rename",
            Self::TokenExpire => "token.expire",
            Self::TokenRevoke => "token.revoke",
            Self::TokenRevokeAll => "token.revoke-all",
            Self::AccessRefused => "access.refused",
            Self::StoreSweep => "store.sweep",
            Self::StoreRestore => "store.restore",
            Self::KeyRotate => "key.rotate",
            Self::KeyConfirm => "key.confirm",
            Self::KeyRotateSigning => "key.rotate-signing",
            Self::Setup => "setup",
            Self::Login => "login",
            Self::LoginFailed => "login.failed",
            Self::Logout => "logout",
            Self::LoginRevoke => "login.revoke",
            Self::LoginRevokeAll => "login.revoke-all",
            Self::PairStart => "pair.start",
            Self::PairRedeem => "pair.redeem",
            Self::PairAllow => "pair.allow",
            Self::PairRefuse => "pair.refuse",
            Self::DeviceApprove => "device.approve",
            Self::DeviceRefuse => "device.refuse",
            Self::InternalTokenMake => "internal-token.make",
            Self::InternalTokenRotate => "internal-token.rotate",
            Self::ImportLlmux => "import.llmux",
            Self::StreamOpen => "stream.open",
            Self::StreamClose => "stream.close",
            Self::LiveClose => "live.close",
            Self::ConfigReload => "config.reload",
            Self::ConfigRefused => "config.refused",
            Self::CutPlace => "cut.place",
            Self::CutLift => "cut.lift",
        }
    }

    /// What came of it, as written in the trail: an act that is recorded was done.
    pub const fn outcome(self) -> &'static str {
        match self {
            Self::LoginFailed | Self::AccessRefused | Self::ConfigRefused => "refused",
            _ => "ok",
        }
    }
}

/// An event about to be recorded. `detail` never holds a secret.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub action: Action,
    /// Who: a username, `cli:<os user>` or `internal`.
    pub actor: String,
    /// With which credential, if with one.
    pub credential: Option<CredentialId>,
    /// To what: a username, a credential's id, a route.
    pub target: String,
    /// The client's address, if there was a client.
    pub ip: Option<String>,
    /// More, by name. Strings, integers, booleans and lists of them; no fractions, which RFC 8785 writes specially.
    pub detail: BTreeMap<String, Value>,
    /// On whose authority it is done, if that can end: whoever commits it makes sure first that it has not.
    pub author: Option<Author>,
}

/// A credential that acts, and what it needs for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Which. Its lineage must stand, and its owner be enabled.
    pub credential: CredentialId,
    /// What it and its owner's role must allow; `None`: that it stands is enough.
    pub needs: Option<PlainScope>,
    /// The time against which expiry is held.
    pub at: Timestamp,
    /// Whether an admin's sign-in may do it while everything is cut.
    pub though_all_is_cut: bool,
    /// What it says, if it is a worker token: there is no row of it.
    pub worker: Option<Arc<WorkerClaims>>,
}

/// A recorded event, as `audit list --json` and `GET /api/audit` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the trail, from 1, without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What, dotted.
    pub action: String,
    /// Who.
    pub actor: String,
    /// With which credential.
    pub credential: Option<CredentialId>,
    /// To what.
    pub target: String,
    /// `ok`, or why not.
    pub outcome: String,
    /// From where.
    pub ip: Option<String>,
    /// More, by name.
    pub detail: BTreeMap<String, Value>,
    /// The hash of the event before; 64 zeros for the first.
    pub prev: String,
    /// SHA-256 over the RFC 8785 form of this event without `hash`, in lower-case hex.
    pub hash: String,
}

/// The `prev` of the first event.
pub const FIRST_PREV: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Event {
    /// Links `new` behind the event whose hash is `prev`.
    pub fn link(seq: u64, prev: String, new: NewEvent) -> Self {
        let mut event = Self {
            seq,
            at: new.at,
            action: new.action.name().to_owned(),
            actor: new.actor,
            credential: new.credential,
            target: new.target,
            outcome: new.action.outcome().to_owned(),
            ip: new.ip,
            detail: new.detail,
            prev,
            hash: String::new(),
        };
        event.hash = event.computed_hash();
        event
    }

    /// The hash that this event must have.
    pub fn computed_hash(&self) -> String {
        // RFC 8785 asks for sorted names, no blanks and the shortest escapes. `Value`'s maps are sorted, all our
        // names are ASCII and there are no fractions, so serde_json's compact form is that form.
        let mut form = serde_json::to_value(self).unwrap_or_default();
        if let Some(members) = form.as_object_mut() {
            members.remove("hash");
        }
        Sha256::digest(form.to_string()).iter().fold(String::with_capacity(64), |mut hex, byte| {
            use std::fmt::Write;
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// What stands in the place of events that were deleted as too old: the trail goes on behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The place of the last deleted event.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
    /// When they were deleted.
    pub at: Timestamp,
    /// Who signed it.
    pub signing_key: SigningKeyId,
    /// Ed25519 over [`Checkpoint::signed_text`].
    pub signature: [u8; 64],
}

impl Checkpoint {
    /// What a checkpoint's signature covers: a text that nothing else of ours is signed in the form of.
    pub fn signed_text(seq: u64, hash: &str, at: Timestamp) -> String {
        format!("fallgate audit checkpoint 1\n{seq}\n{hash}\n{}\n", at.millis())
    }
}

/// A walk along the trail, oldest event first.
#[derive(Debug)]
pub struct Chain {
    begin: u64,
    next: u64,
    prev: String,
}

/// Where the trail is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenLink {
    /// There is another number where this one should be.
    #[error("event {0} is missing")]
    Missing(u64),
    /// It does not name the event before it.
    #[error("event {0} does not follow the one before it")]
    Unlinked(u64),
    /// Its own hash does not fit it.
    #[error("event {0} was changed")]
    Changed(u64),
}

impl Default for Chain {
    fn default() -> Self {
        Self { begin: 1, next: 1, prev: FIRST_PREV.to_owned() }
    }
}

impl Chain {
    /// A walk that begins behind a checkpoint, whose signature somebody else has checked.
    pub fn behind(checkpoint: &Checkpoint) -> Self {
        Self::after(checkpoint.seq, checkpoint.hash.clone())
    }

    /// A walk that begins behind the event of that place and hash.
    pub fn after(seq: u64, hash: String) -> Self {
        let next = seq.saturating_add(1);
        Self { begin: next, next, prev: hash }
    }

    /// Takes the next event, if it is the one that was written there.
    pub fn follow(&mut self, event: &Event) -> Result<(), BrokenLink> {
        if event.seq != self.next {
            return Err(BrokenLink::Missing(self.next));
        }
        if event.prev != self.prev {
            return Err(BrokenLink::Unlinked(event.seq));
        }
        if event.computed_hash() != event.hash {
            return Err(BrokenLink::Changed(event.seq));
        }
        self.next = event.seq + 1;
        self.prev.clone_from(&event.hash);
        Ok(())
    }

    /// How many events fitted.
    pub fn followed(&self) -> u64 {
        self.next - self.begin
    }

    /// The place of the last event that fitted, or of the last before the walk.
    pub fn last(&self) -> u64 {
        self.next - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_all_actions_lacks_none() {
        let names = include_str!("audit.rs").lines().filter(|line| {
            let line = line.trim();
            line.starts_with("Self::") && line.contains(" => \"") && !line.contains('|')
        });
        // `outcome` has none in this form: its refusals stand on one line, and all else is `_`.
        assert_eq!(names.count(), Action::ALL.len());
        let distinct: std::collections::HashSet<_> = Action::ALL.iter().map(|action| action.name()).collect();
        assert_eq!(distinct.len(), Action::ALL.len());
    }

    #[test]
    fn events_are_chained_over_their_canonical_form() {
        let event = Event::link(
            1,
            FIRST_PREV.to_owned(),
            NewEvent {
                at: Timestamp::from_millis(0),
                action: Action::TokenMint,
                actor: "alice".to_owned(),
                credential: None,
                target: "é\u{1}\"".to_owned(),
                ip: None,
                detail: BTreeMap::from([
                    ("b".to_owned(), Value::from(1)),
                    ("a".to_owned(), Value::from("x")),
                ]),
                author: None,
            },
        );
        // Python: hashlib.sha256(json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
        assert_eq!(event.hash, "f62923d6fed39e1fe96d43e3a6d483831e9a7307b80ace2fc4b911650a410c89");
        assert_eq!(event.computed_hash(), event.hash);
        let mut forged = event.clone();
        forged.target = "bob".to_owned();
        assert_ne!(forged.computed_hash(), forged.hash);
    }

    #[test]
    fn a_walk_names_the_first_broken_link() {
        let mut trail: Vec<Event> = Vec::new();
        for seq in 1..=4 {
            let prev = trail.last().map_or_else(|| FIRST_PREV.to_owned(), |event| event.hash.clone());
            let new = NewEvent {
                at: Timestamp::from_millis(0),
                action: Action::UserCreate,
                actor: "cli:root".to_owned(),
                credential: None,
                target: seq.to_string(),
                ip: None,
                detail: BTreeMap::new(),
                author: None,
            };
            trail.push(Event::link(seq, prev, new));
        }
        let walk = |trail: &[Event]| {
            let mut chain = Chain::default();
            trail.iter().try_for_each(|event| chain.follow(event)).map(|()| chain.followed())
        };
        assert_eq!(walk(&trail), Ok(4));
        let mut changed = trail.clone();
        changed[1].target = "mallory".to_owned();
        assert_eq!(walk(&changed), Err(BrokenLink::Changed(2)));
        changed[1].hash = changed[1].computed_hash();
        assert_eq!(walk(&changed), Err(BrokenLink::Unlinked(3)));
        let mut missing = trail.clone();
        missing.remove(2);
        assert_eq!(walk(&missing), Err(BrokenLink::Missing(3)));
        assert_eq!(walk(&trail[1..]), Err(BrokenLink::Missing(1)));
    }
}
