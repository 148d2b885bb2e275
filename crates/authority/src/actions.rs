//! What a caller may be permitted to do, each with the one scope it needs. A handler takes a
//! [`Permit`](crate::Permit) of one of these, so a door cannot forget its check.

use fallgate_domain::scope::PlainScope;

use crate::permit::Action;

macro_rules! action {
    ($(#[$doc:meta])* $name:ident needs $scope:ident $(, $mends:ident)?) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl Action for $name {
            const SCOPE: PlainScope = PlainScope::$scope;
            $(const MENDS: bool = action!(@$mends);)?
        }
    };
    (@mends) => {
        true
    };
}

action! {
    /// See one's own tokens (an admin: everybody's).
    ReadIdentity needs IdentityRead
}

action! {
    /// Mint, rename and revoke tokens.
    WriteTokens needs TokensWrite
}

action! {
    /// Make, change and delete accounts.
    ManageUsers needs Admin
}

action! {
    /// See, make, disable and delete one's own agents (an admin: everybody's), and mint their tokens.
    ManageAgents needs AgentsWrite
}

action! {
    /// Read the audit trail.
    ReadAudit needs Admin
}

action! {
    /// Ask whether somebody's credential is good (RFC 7662).
    AskOfCredentials needs Introspect
}

action! {
    /// See what of one's own is open (an admin: everybody's).
    ReadLive needs LiveRead, mends
}

action! {
    /// See everything that is open.
    ReadAllLive needs Admin, mends
}

action! {
    /// See the routes, and how they stand.
    ReadRoutes needs Admin
}

action! {
    /// Close something that is open.
    CloseLive needs Cut, mends
}

action! {
    /// See, place and lift cuts: of oneself and one's own, or, for an admin, all. An admin's sign-in may do so while
    /// everything is cut.
    ManageCuts needs Cut, mends
}

/// Use one route. A permit for it is had from [`Principal::permit_route`](crate::Principal::permit_route) only, since
/// the answer depends on the route.
#[derive(Debug)]
pub enum UseRoute {}
