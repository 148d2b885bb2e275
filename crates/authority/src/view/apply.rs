//! Taking in what changed in the store, and what of it is gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering as StdOrdering;

use fallgate_domain::id::UserId;
use fallgate_store::{AgentRow, Changes, CredentialRow, Gone, Revision, Row, UserRow};

use super::{ByHash, ById, View};
use crate::agent_entry::AgentEntry;
use crate::entry::{Account, Entry, Parent};
use crate::sync::Ordering;

/// Children that came before their parents: ids of one millisecond sort by chance, and clocks are set back.
#[derive(Debug, Default)]
pub(crate) struct Orphans(Vec<CredentialRow>);

impl View {
    /// Takes in what changed, then asks the leases that it may concern to look again. One caller at a time.
    pub(crate) fn apply(&self, changes: &Changes) {
        self.generation.fetch_add(1, StdOrdering::AcqRel);
        let missing = if changes.whole { self.missing_from(&changes.rows) } else { Vec::new() };
        let gone = changes.gone.iter().chain(&missing);
        let mut touched: Vec<Arc<Account>> = gone.filter_map(|gone| self.drop_gone(gone)).collect();
        let mut children = Orphans::default();
        for row in &changes.rows {
            touched.extend(self.take(row, changes.revision, &mut children));
        }
        self.adopt(children, changes.revision);
        // After the rows, which are those that still stand: a lease may look between the two.
        for owner in &changes.revoked_all {
            touched.extend(self.end_tokens(*owner, changes.revision));
        }
        self.set_revision(changes.revision);
        self.generation.fetch_add(1, StdOrdering::AcqRel);
        for row in &changes.rows {
            if let Row::Cut(cut) = row {
                touched.extend(self.count_closing(cut.id, &cut.on));
            }
        }
        // Whose a revoked worker token is, or what a dropped key has signed, is written nowhere.
        if changes.rows.iter().any(|row| matches!(row, Row::RevokedWorker(_) | Row::Keys(_))) {
            touched.extend(self.accounts());
        }
        touched.sort_by_key(|account| Arc::as_ptr(account).addr());
        touched.dedup_by(|a, b| Arc::ptr_eq(a, b));
        // Commit, then cut: the state above is visible before any lease is asked to look again. The other half of
        // the contract is in `Verifier::verify`: register, then read.
        for account in touched {
            account.poke();
        }
    }

    /// Takes in one row; tells whose leases should look again. A child whose parent has not come yet waits among the
    /// orphans until [`View::adopt`].
    pub(crate) fn take(&self, row: &Row, read_at: Revision, orphans: &mut Orphans) -> Option<Arc<Account>> {
        match row {
            Row::User(row) => Some(self.take_user(row)),
            Row::Agent(row) => Some(self.take_agent(row)),
            Row::Cut(row) => {
                self.cuts.take(row.clone());
                None
            }
            Row::Credential(row) => self.take_credential(row, read_at, orphans),
            Row::RevokedWorker(family) => {
                self.workers.take_revoked(*family);
                None
            }
            Row::Keys(keys) => {
                self.workers.take_keys(keys);
                None
            }
        }
    }

    /// Takes in the children whose parents came after them. Those whose parents never came hang on nothing.
    pub(crate) fn adopt(&self, mut orphans: Orphans, read_at: Revision) {
        loop {
            let waiting = std::mem::take(&mut orphans.0);
            let before = waiting.len();
            for row in waiting {
                self.take_credential(&row, read_at, &mut orphans);
            }
            if orphans.0.len() == before {
                break;
            }
        }
        for row in orphans.0 {
            self.insert(&row, Parent::Gone, read_at);
        }
    }

    fn take_user(&self, row: &UserRow) -> Arc<Account> {
        let accounts = self.accounts.pin();
        let account = accounts.get_or_insert_with(row.id, || Arc::new(Account::of(row, self.cuts.clone())));
        account.update(row);
        account.clone()
    }

    fn take_agent(&self, row: &AgentRow) -> Arc<Account> {
        let agents = self.agents.pin();
        let agent =
            agents.get_or_insert_with(row.id, || Arc::new(AgentEntry::of(row, self.account_of(row.owner))));
        agent.update(row);
        self.agents_by_name.pin().insert(row.name.clone(), agent.clone());
        agent.account.clone()
    }

    /// The account of whoever owns something. One that is not there is gone, and so is what they own.
    fn account_of(&self, owner: UserId) -> Arc<Account> {
        self.account(owner).unwrap_or_else(|| {
            let nobody = Account::ownerless(self.cuts.clone());
            nobody.gone.store(true, Ordering::Release);
            Arc::new(nobody)
        })
    }

    fn take_credential(
        &self,
        row: &CredentialRow,
        read_at: Revision,
        orphans: &mut Orphans,
    ) -> Option<Arc<Account>> {
        let by_id = self.by_id.pin();
        if let Some(ById(entry)) = by_id.get(&row.id) {
            entry.update(row, read_at);
            return Some(entry.account.clone());
        }
        let parent = match row.parent {
            None => Parent::None,
            Some(parent) => {
                let Some(ById(parent)) = by_id.get(&parent) else {
                    orphans.0.push(row.clone());
                    return None;
                };
                Parent::Entry(parent.clone())
            }
        };
        self.insert(row, parent, read_at);
        // Nothing can rest on what nobody has seen before.
        None
    }

    fn insert(&self, row: &CredentialRow, parent: Parent, read_at: Revision) {
        let account = match row.owner {
            None => self.ownerless.clone(),
            Some(owner) => self.account_of(owner),
        };
        let entry = Arc::new(Entry::new(row, account, parent, read_at, self.login_idle));
        self.by_id.pin().insert(ById(entry.clone()));
        if row.hash.is_some() {
            self.by_hash.pin().insert(ByHash(entry));
        }
    }

    /// Ends all tokens of an owner, or of everybody, that were read before.
    fn end_tokens(&self, owner: Option<UserId>, at: Revision) -> Vec<Arc<Account>> {
        let accounts = self.accounts.pin();
        let whose: Vec<_> = match owner {
            Some(owner) => accounts.get(&owner).cloned().into_iter().collect(),
            None => self.accounts(),
        };
        for account in &whose {
            account.tokens_ended_at.store(at.0, Ordering::Release);
        }
        whose
    }

    /// What is held here and has no row among all there are.
    fn missing_from(&self, rows: &[Row]) -> Vec<Gone> {
        let there: HashSet<Gone> = rows
            .iter()
            .filter_map(|row| match row {
                Row::User(user) => Some(Gone::User(user.id)),
                Row::Cut(cut) => Some(Gone::Cut(cut.id)),
                Row::Credential(credential) => Some(Gone::Credential(credential.id)),
                Row::Agent(agent) => Some(Gone::Agent(agent.id)),
                Row::RevokedWorker(family) => Some(Gone::RevokedWorker(*family)),
                // There always are some.
                Row::Keys(_) => None,
            })
            .collect();
        let mut held: Vec<_> = self.accounts.pin().keys().copied().map(Gone::User).collect();
        held.extend(self.cuts.written().into_iter().map(Gone::Cut));
        held.extend(self.agents.pin().keys().copied().map(Gone::Agent));
        held.extend(self.workers.revoked().into_iter().map(Gone::RevokedWorker));
        self.each(|entry| held.push(Gone::Credential(entry.id)));
        held.retain(|one| !there.contains(one));
        held
    }

    fn drop_gone(&self, gone: &Gone) -> Option<Arc<Account>> {
        match gone {
            Gone::Cut(id) => {
                self.cuts.forget(*id);
                None
            }
            Gone::RevokedWorker(family) => {
                self.workers.forget_revoked(*family);
                None
            }
            Gone::User(id) => {
                let accounts = self.accounts.pin();
                let account = accounts.get(id)?.clone();
                accounts.remove(id);
                account.gone.store(true, Ordering::Release);
                Some(account)
            }
            Gone::Agent(id) => {
                let agents = self.agents.pin();
                let agent = agents.get(id)?.clone();
                agents.remove(id);
                let by_name = self.agents_by_name.pin();
                if by_name.get(&agent.name).is_some_and(|named| named.id == *id) {
                    by_name.remove(&agent.name);
                }
                agent.end();
                Some(agent.account.clone())
            }
            Gone::Credential(id) => {
                let by_id = self.by_id.pin();
                let ById(entry) = by_id.get(id)?;
                let entry = entry.clone();
                by_id.remove(id);
                self.by_hash.pin().remove(&entry.hash);
                entry.end();
                Some(entry.account.clone())
            }
        }
    }
}
