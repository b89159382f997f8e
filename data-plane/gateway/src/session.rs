//! The principal of a stream, and what becomes of it while the stream is open: its key may be revoked,
//! changed, replaced or expire.

use std::{future::pending, time::Duration};

use highwater_broker::{Refusal, Result, catalogue::Principal};
use highwater_proto::{
    ErrorCode,
    limits::{CLOCK_CHECK_MS, EXPIRY_WARNING_MS},
};
use http::HeaderMap;
use tokio::sync::watch;

use crate::{
    authenticate::{authenticate, bearer},
    gateway::{Clock, Door},
    page::Page,
};

/// A principal that is checked again whenever the catalogue changes, and when its time is over.
pub struct Session {
    principal: Principal,
    page: Page,
    changes: watch::Receiver<()>,
    clock: Clock,
    /// The end that its client was warned of.
    warned_of_ms: Option<u64>,
}

impl Session {
    /// Checks the credential of a request that opens a stream.
    ///
    /// # Errors
    /// Those of [`authenticate`], or `unauthenticated` when there is none.
    pub fn open(door: &Door, headers: &HeaderMap) -> Result<Session> {
        Session::of(door, Page::of(headers), bearer(headers)?)
    }

    /// Checks a credential that came in another way than with the headers.
    ///
    /// # Errors
    /// Those of [`authenticate`].
    pub fn of(door: &Door, page: Page, credential: &str) -> Result<Session> {
        let now_ms = (door.clock)();
        Session::begin(door, page, || door.broker.authenticate(credential, now_ms))
    }

    /// Watches over a principal from before it is known.
    ///
    /// # Errors
    /// Why it is none, or `forbidden` for a page that its project does not allow.
    pub fn begin(
        door: &Door,
        page: Page,
        who: impl FnOnce() -> Result<Principal>,
    ) -> Result<Session> {
        // The receiver first: a change between the two is seen.
        let changes = door.broker.catalogue_changes();
        let principal = who()?;
        page.require(&principal.project)?;
        Ok(Session {
            principal,
            page,
            changes,
            clock: door.clock.clone(),
            warned_of_ms: None,
        })
    }

    /// Who it is, as of the last check.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Checks again, if the catalogue has changed since the last check or the time is over.
    ///
    /// # Errors
    /// `unauthenticated` when the key was revoked or has expired, `forbidden` when the project no longer
    /// allows the page.
    pub fn refresh(&mut self, door: &Door) -> Result<&Principal> {
        let ends_at_ms = self.principal.expires_at_ms;
        let is_over = ends_at_ms.is_some_and(|end| end <= (self.clock)());
        if is_over || self.changes.has_changed().unwrap_or(false) {
            self.changes.mark_unchanged();
            self.principal = door.broker.recheck(&self.principal, (self.clock)())?;
            self.page.require(&self.principal.project)?;
        }
        Ok(&self.principal)
    }

    /// Goes on with another credential of the same project.
    ///
    /// # Errors
    /// `unauthenticated` when it is not valid, `forbidden` when it is of another project. The session is as
    /// it was then.
    pub fn replace(&mut self, door: &Door, credential: &str) -> Result<()> {
        self.renew(door, &authenticate(door, &self.page, credential)?)
    }

    /// Goes on as another principal of the same project.
    ///
    /// # Errors
    /// Those of [`Session::replace`].
    pub fn renew(&mut self, door: &Door, principal: &Principal) -> Result<()> {
        if principal.project.id != self.principal.project.id {
            let message = "the credential is of another project; open a connection for it";
            return Err(Refusal::new(ErrorCode::Forbidden, message));
        }
        // Once more, since the catalogue may have changed after it was authenticated.
        let changes = door.broker.catalogue_changes();
        self.principal = door.broker.recheck(principal, (self.clock)())?;
        self.changes = changes;
        Ok(())
    }

    /// Resolves when there is something to check again. May be dropped and asked again.
    pub async fn changed(&self) {
        let mut changes = self.changes.clone();
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    // The broker is gone, and with it every stream.
                    pending::<()>().await;
                }
            }
            () = until(&self.clock, self.principal.expires_at_ms) => {}
        }
    }

    /// Resolves when the client is to be warned that the time will soon be over.
    pub async fn expiring(&self) {
        let end_ms = self.principal.expires_at_ms;
        let end_ms = end_ms.filter(|_| end_ms != self.warned_of_ms);
        until(
            &self.clock,
            end_ms.map(|end| end.saturating_sub(EXPIRY_WARNING_MS)),
        )
        .await;
    }

    /// When the time is over, for the warning: it is not asked for again.
    pub fn warn(&mut self) -> u64 {
        self.warned_of_ms = self.principal.expires_at_ms;
        self.warned_of_ms.unwrap_or(u64::MAX)
    }
}

/// Waits for a time of the clock, which may be set while it does. Without one it never resolves.
async fn until(clock: &Clock, time_ms: Option<u64>) {
    let Some(time_ms) = time_ms else {
        return pending().await;
    };
    loop {
        match time_ms.saturating_sub(clock()) {
            0 => return,
            left => tokio::time::sleep(Duration::from_millis(left.min(CLOCK_CHECK_MS))).await,
        }
    }
}
