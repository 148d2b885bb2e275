//! Signing in a box without a browser: it shows a code, somebody approves it on a page (RFC 8628; requirement R62).
//!
//! Pairing's kin, begun from the other end: there somebody who is signed in makes a code for a device; here a device that
//! nobody knows makes one, so nothing of it is believed, and whoever approves is told who asks and from where.

mod table;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use fallgate_domain::audit;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::TokenName;
use fallgate_domain::cut::CutNotice;
use fallgate_domain::entropy::{self, NoEntropy};
use fallgate_domain::token::{PlainToken, TokenKind};
use fallgate_domain::user_code::{USER_CODE_RANDOM, UserCode};
use fallgate_store::StoreError;
use serde_json::Value;
use zeroize::Zeroize;

pub(crate) use self::table::DeviceLogins;
use self::table::{Approval, Asking, INTERVAL, LIFE, Standing};
use crate::caller::{Newcomer, SignedIn};
use crate::consent::{Consent, ConsentError, MARK};
use crate::network::Network;
use crate::signin::NewSignIn;
use crate::throttle::Throttled;
use crate::verifier::Verifier;

/// A device asks to be signed in. Nothing of it is proven.
#[derive(Debug)]
pub struct DeviceOrder {
    /// What program it says that it is.
    pub client: TokenName,
    /// What the sign-in will be called; the program's name, if nothing is said.
    pub device_name: Option<TokenName>,
}

/// What the device goes on with.
#[derive(Debug)]
pub struct StartedDeviceLogin {
    /// By which it is known; kept as a hash only. Nobody is anybody by it.
    pub device_code: PlainToken,
    /// What it shows.
    pub user_code: UserCode,
    /// How long both are good.
    pub life: Duration,
    /// How long it waits between two looks.
    pub interval: Duration,
}

/// A device that waits to be approved, for whoever is to do that.
#[derive(Debug)]
pub struct DeviceAsking {
    /// What it shows.
    pub user_code: UserCode,
    /// What program it says that it is.
    pub client: String,
    /// What it says that it is called.
    pub device: String,
    /// From where it asked, if that is known.
    pub ip: Option<IpAddr>,
    /// When.
    pub since: Timestamp,
    /// Until when it waits.
    pub until: Timestamp,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum DeviceLoginError {
    /// There is no user yet.
    #[error("there is no user yet")]
    SetupNeeded,
    /// There is no such code, or it has ended a while ago.
    #[error("no device waits with this code: look whether it is the one that the device shows")]
    Unknown,
    /// Its time is over.
    #[error("this code is too old: have the device ask anew")]
    Late,
    /// Somebody has approved or refused it.
    #[error("this code was used already: have the device ask anew")]
    Answered,
    /// Nobody has approved or refused it yet.
    #[error("nobody has approved this yet")]
    Pending,
    /// The same, and the device asks too often.
    #[error("nobody has approved this yet, and you ask too often: wait five seconds more between two tries")]
    TooSoon,
    /// Somebody refused it.
    #[error("the sign-in was refused")]
    Refused,
    /// Whoever approved it is shut out now.
    #[error("whoever approved this is shut out now")]
    ApproverEnded,
    /// A cut stops them.
    #[error("whoever approved this is cut")]
    Cut(CutNotice),
    /// Too many tries from one network.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ConsentError> for DeviceLoginError {
    fn from(error: ConsentError) -> Self {
        match error {
            ConsentError::Ended => Self::ApproverEnded,
            ConsentError::Cut(notice) => Self::Cut(notice),
            ConsentError::Entropy(error) => error.into(),
            ConsentError::Store(error) => error.into(),
        }
    }
}

impl Verifier {
    /// Takes in a device that asks. It is written down nowhere until somebody answers: strangers fill no disk.
    pub async fn start_device_login(
        &self,
        order: DeviceOrder,
        ip: Option<IpAddr>,
    ) -> Result<StartedDeviceLogin, DeviceLoginError> {
        let (now, entropy) = (self.clock().now(), &*self.registrar.entropy);
        if self.needs_setup().await? {
            return Err(DeviceLoginError::SetupNeeded);
        }
        self.devices.asks.count(ip, now)?;
        let mut random = entropy::bytes::<32>(entropy)?;
        let device_code = PlainToken::new(TokenKind::DeviceCode, &random);
        random.zeroize();
        let client = order.client.into_string();
        let device = order.device_name.map_or_else(|| client.clone(), TokenName::into_string);
        loop {
            let user_code = UserCode::new(entropy::bytes::<USER_CODE_RANDOM>(entropy)?);
            let asking = Asking {
                hash: device_code.hash(),
                user_code,
                client: client.clone(),
                device: device.clone(),
                ip,
                site: Network::of(ip).site(),
                since: now,
                until: now.plus(LIFE),
                interval: INTERVAL,
                looked_at: None,
                standing: Standing::Waiting,
            };
            if self.devices.start(asking, now) {
                return Ok(StartedDeviceLogin { device_code, user_code, life: LIFE, interval: INTERVAL });
            }
        }
    }

    /// The device that shows this code, for whoever is to approve it. Every look counts, also one that finds something.
    pub fn device_asking(
        &self,
        _caller: &SignedIn,
        user_code: &str,
        ip: Option<IpAddr>,
    ) -> Result<DeviceAsking, DeviceLoginError> {
        self.asking(user_code, ip).map(DeviceAsking::of)
    }

    /// Approves the device that shows this code, or refuses it. Once: nobody else can, and nobody takes it back.
    pub async fn answer_device(
        &self,
        caller: &SignedIn,
        user_code: &str,
        approve: bool,
        ip: Option<IpAddr>,
    ) -> Result<DeviceAsking, DeviceLoginError> {
        let asking = self.asking(user_code, ip)?;
        let now = self.clock().now();
        let (action, standing) = if approve {
            let by = caller.principal().credential();
            (audit::Action::DeviceApprove, Standing::Approved(Approval { owner: caller.id(), by }))
        } else {
            (audit::Action::DeviceRefuse, Standing::Refused)
        };
        let target = caller.username().to_string();
        let event = caller.actor(ip).event(now, action, target, asking.detail());
        let vault = &self.registrar.vault;
        if approve {
            // Written down before anybody comes in by it, and by one alone: the trail tells of no approval that was none.
            self.devices.answer(&asking.hash, Standing::Taken, now)?;
            // Also if whoever approves goes away meanwhile: then somebody can again.
            let taken = self.devices.taken(asking.hash, now);
            vault.record(vec![event]).await?;
            taken.settle(standing)?;
        } else {
            self.devices.answer(&asking.hash, standing, now)?;
            vault.record(vec![event]).await?;
        }
        Ok(DeviceAsking::of(asking))
    }

    /// Signs in the device that holds this code and calls itself so, once it was approved.
    pub async fn collect_device_login(
        &self,
        device_code: &[u8],
        client: &str,
        ip: Option<IpAddr>,
        user_agent: Option<&[u8]>,
    ) -> Result<NewSignIn, DeviceLoginError> {
        let now = self.clock().now();
        let code = PlainToken::parse(TokenKind::DeviceCode, device_code);
        let looked = code.map_err(|_| DeviceLoginError::Unknown);
        let looked = looked.and_then(|code| self.devices.look(&code.hash(), client.trim(), now));
        let (asking, approval) = match looked {
            Err(DeviceLoginError::Unknown) => {
                self.devices.wrong.count(ip, now)?;
                return Err(DeviceLoginError::Unknown);
            }
            looked => looked?,
        };
        let consent = Consent {
            owner: approval.owner,
            by: Some(approval.by),
            device: asking.device.clone(),
            minted_by: format!("{MARK}device"),
            detail: asking.detail(),
        };
        let newcomer = Newcomer::program(ip, user_agent);
        let signed_in = self.sign_in_by_consent(consent, &newcomer).await;
        if signed_in.is_err() {
            self.devices.fail(&asking.hash, now);
        }
        Ok(signed_in?)
    }

    fn asking(&self, user_code: &str, ip: Option<IpAddr>) -> Result<Asking, DeviceLoginError> {
        let now = self.clock().now();
        self.devices.guesses.count(ip, now)?;
        let code = user_code.parse().map_err(|_| DeviceLoginError::Unknown);
        code.and_then(|code| self.devices.find(code, now)).inspect_err(|error| {
            if matches!(error, DeviceLoginError::Unknown) {
                self.refusals.count_sign_in("wrong-user-code", None, ip);
            }
        })
    }
}

impl DeviceAsking {
    fn of(asking: Asking) -> Self {
        let Asking { user_code, client, device, ip, since, until, .. } = asking;
        Self { user_code, client, device, ip, since, until }
    }
}

impl Asking {
    /// For the audit trail.
    fn detail(&self) -> BTreeMap<String, Value> {
        let mut detail = BTreeMap::from([
            ("client".to_owned(), Value::from(self.client.clone())),
            ("name".to_owned(), Value::from(self.device.clone())),
        ]);
        detail.extend(self.ip.map(|ip| ("from".to_owned(), ip.to_string().into())));
        detail
    }
}
