//! Users and tokens from elsewhere: taken once, and what was ended since stays so.

use fallgate_domain::audit::Action;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::user::{Role, User};
use fallgate_store::{Import, Imported, ImportedToken, ImportedUser, PassphraseHash, Revision, Taken, Vault};

use crate::support::{
    Backend, NOW, backend, create, event, hash_of, load, minutes_later, revocation, revoke,
};

fn token(backend: &Backend, owner: Option<&str>) -> ImportedToken {
    let new = backend.token(None, 0);
    let credential = new.credential;
    ImportedToken {
        id: credential.id,
        hash: new.hash,
        owner: owner.map(|name| name.parse().unwrap()),
        minted_by: "cli:tester".to_owned(),
        name: "phone".to_owned(),
        hint: "sas_AbCd".to_owned(),
        scopes: credential.scopes,
        created_at: credential.created_at,
        expires_at: credential.expires_at,
        last_used_at: Some(minutes_later(7)),
    }
}

fn import(users: &[&User], tokens: &[&ImportedToken]) -> Import {
    let user = |user: &&User| ImportedUser {
        user: (*user).clone(),
        passphrase: PassphraseHash::new("scrypt$16384$c2FsdA==$aGFzaA==".to_owned()),
    };
    Import {
        source: "llmux",
        users: users.iter().map(user).collect(),
        tokens: tokens.iter().map(|token| (*token).clone()).collect(),
    }
}

async fn take(vault: &Vault, import: Import, dry_run: bool) -> Imported {
    vault.import(import, dry_run, event(Action::ImportLlmux, "llmux")).await.unwrap()
}

#[tokio::test]
async fn users_and_tokens_are_taken_in_one_act_and_a_second_time_nothing_is() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let mut ada = backend.user("ada");
    ada.role = Role::Admin;
    let (bound, anonymous) = (token(&backend, Some("ada")), token(&backend, None));
    let all = || import(&[&ada], &[&bound, &anonymous]);

    let tried = take(&vault, all(), true).await;
    assert_eq!((tried.users, tried.tokens, tried.revision), (vec![Taken::Now], vec![Taken::Now; 2], None));
    assert_eq!(vault.revision().await.unwrap(), Revision(0), "a dry run does nothing");
    assert!(store.users().await.unwrap().is_empty() && store.events(None, 1).await.unwrap().is_empty());

    let done = take(&vault, all(), false).await;
    assert_eq!((done.users, done.tokens), (vec![Taken::Now], vec![Taken::Now; 2]));
    assert_eq!(done.revision, Some(Revision(1)));
    assert_eq!(store.user_named(&ada.username).await.unwrap(), Some(ada.clone()));
    let shown = store.credential(bound.id).await.unwrap().unwrap();
    assert_eq!(
        (shown.credential.kind, shown.owner_name),
        (CredentialKind::Token, Some(ada.username.clone()))
    );
    assert_eq!(shown.credential.last_use.map(|last| last.at), Some(minutes_later(7)));
    let shown = store.credential(anonymous.id).await.unwrap().unwrap();
    assert_eq!((shown.credential.kind, shown.owner_name), (CredentialKind::Legacy, None));
    assert_eq!(shown.credential.expires_at, anonymous.expires_at);
    let (_, rows) = load(&vault).await;
    assert_eq!(hash_of(&rows, anonymous.id), Some(anonymous.hash));
    let told = &store.events(None, 1).await.unwrap()[0];
    assert_eq!(told.action, "import.llmux");
    let counts = ["users", "tokens", "legacy_tokens"].map(|name| told.detail[name].as_u64());
    assert_eq!(counts, [Some(1); 3]);

    // Ids differ from one reading of the source to the next.
    let mut later = backend.user("ada");
    later.created_at = ada.created_at;
    let again = take(&vault, import(&[&later], &[&bound, &anonymous]), false).await;
    assert_eq!((again.users, again.tokens), (vec![Taken::Before], vec![Taken::Before; 2]));
    assert_eq!(vault.revision().await.unwrap(), Revision(1));
    assert_eq!(store.events(None, 10).await.unwrap().len(), 1, "nothing done, nothing recorded");

    // What came to the source meanwhile is taken.
    let newer = token(&backend, Some("ada"));
    let more = take(&vault, import(&[&later], &[&bound, &newer]), false).await;
    assert_eq!(more.tokens, [Taken::Before, Taken::Now]);
    assert_eq!(store.credential(newer.id).await.unwrap().unwrap().credential.owner, Some(ada.id));
}

#[tokio::test]
async fn what_was_ended_since_does_not_come_back() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let ada = backend.user("ada");
    let (bound, anonymous) = (token(&backend, Some("ada")), token(&backend, None));
    let all = || import(&[&ada], &[&bound, &anonymous]);
    let _ = take(&vault, all(), false).await;
    revoke(&vault, anonymous.id).await;
    let deleted = vault.delete_user(ada.id, revocation(), event(Action::UserDelete, "ada")).await.unwrap();
    let before = vault.revision().await.unwrap();
    let again = take(&vault, all(), false).await;
    assert_eq!((again.users, again.tokens), (vec![Taken::EndedSince], vec![Taken::EndedSince; 2]));
    assert_eq!(vault.revision().await.unwrap(), before, "{deleted:?}");
    assert!(store.users().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_stands_in_the_way_stays_as_it_is() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let mut ours = backend.user("ada");
    ours.created_at = minutes_later(1);
    create(&vault, &ours).await;
    let theirs = backend.user("ada");
    let (bound, stray) = (token(&backend, Some("ada")), token(&backend, Some("eve")));
    let one = token(&backend, None);
    let same_secret = ImportedToken { hash: one.hash, ..token(&backend, None) };
    let all = import(&[&theirs, &theirs], &[&bound, &stray, &one, &same_secret]);
    let taken = take(&vault, all, false).await;
    assert_eq!(taken.users, [Taken::UsernameTaken; 2]);
    assert_eq!(taken.tokens, [Taken::OwnerMissing, Taken::OwnerMissing, Taken::Now, Taken::Before]);
    assert_eq!(store.users().await.unwrap(), [ours]);

    // Somebody's secret is not taken from them.
    let minted = backend.token(None, 0);
    crate::support::mint(&vault, &minted).await;
    let posing = ImportedToken { hash: minted.hash, ..token(&backend, None) };
    let taken = take(&vault, import(&[], &[&posing]), false).await;
    assert_eq!((taken.tokens, taken.revision), (vec![Taken::SecretTaken], None));
    assert_eq!(NOW, minted.credential.created_at);
}
