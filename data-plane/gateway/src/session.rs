//! The principal of a stream, and what becomes of it while the stream is open: its key may be revoked,
//! changed, replaced or expire.

use std::{future::pending, time::Duration};

use highwater_broker::{
    Refusal, Result,
    catalogue::Principal,
    metering::Online,
    quota::{Entered, Open},
};
use highwater_proto::{
    ErrorCode,
    limits::{CLOCK_CHECK_MS, EXPIRY_WARNING_MS},
};
use http::HeaderMap;
use tokio::{sync::watch, time::Instant};

use crate::{
    alarm::Alarm,
    authenticate::{authenticate, bearer},
    gateway::{Clock, Door},
    metrics::Protocol,
    page::Page,
};

/// A principal that is checked again whenever the catalogue changes, and when its time is over.
pub struct Session {
    principal: Principal,
    page: Page,
    changes: watch::Receiver<()>,
    clock: Clock,
    /// The catalogue has changed since the last check.
    is_stale: bool,
    /// The end that its client was warned of.
    warned_of_ms: Option<u64>,
    alarm: Alarm,
    _entered: Entered,
    _online: Online,
}

/// What a stream has to see to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The principal is to be checked again.
    Changed,
    /// The client is to be warned that its time is over then, in milliseconds since the Unix epoch.
    Expiring(u64),
}

impl Session {
    /// Checks the credential of a request that opens a stream.
    ///
    /// # Errors
    /// Those of [`authenticate`], or `unauthenticated` when there is none.
    pub fn open(door: &Door, protocol: Protocol, headers: &HeaderMap) -> Result<Session> {
        Session::of(door, protocol, Page::of(headers), bearer(headers)?)
    }

    /// Checks a credential that came in another way than with the headers.
    ///
    /// # Errors
    /// Those of [`authenticate`].
    pub fn of(door: &Door, protocol: Protocol, page: Page, credential: &str) -> Result<Session> {
        let now_ms = (door.clock)();
        Session::begin(door, protocol, page, || {
            door.broker.authenticate(credential, now_ms)
        })
    }

    /// Watches over a principal from before it is known.
    ///
    /// # Errors
    /// Why it is none, `forbidden` for a page that its project does not allow, or `quota_exceeded` when the
    /// project has as many connections as it may.
    pub fn begin(
        door: &Door,
        protocol: Protocol,
        page: Page,
        who: impl FnOnce() -> Result<Principal>,
    ) -> Result<Session> {
        // The receiver first: a change between the two is seen.
        let changes = door.broker.catalogue_changes();
        let principal = who()?;
        page.require(&principal.project)?;
        let entered = principal.project.usage.enter(Open::Connections)?;
        let usage = principal.project.usage.clone();
        let online = Online::new(usage, protocol.metered(), door.clock.clone());
        Ok(Session {
            _entered: entered,
            _online: online,
            principal,
            page,
            changes,
            is_stale: false,
            clock: door.clock.clone(),
            warned_of_ms: None,
            alarm: Alarm::default(),
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
        if is_over || self.is_stale || self.changes.has_changed().unwrap_or(false) {
            self.changes.mark_unchanged();
            self.is_stale = false;
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
        self.is_stale = false;
        Ok(())
    }

    /// Resolves when there is something to check again. May be dropped and asked again.
    pub async fn changed(&mut self) {
        self.next(false).await;
    }

    /// The same for a client that is warned, once, that its time will soon be over.
    pub async fn notice(&mut self) -> Notice {
        self.next(true).await
    }

    async fn next(&mut self, warns: bool) -> Notice {
        let ends_at_ms = self.principal.expires_at_ms;
        loop {
            let now_ms = (self.clock)();
            let warned_at_ms = ends_at_ms.map(|end| end.saturating_sub(EXPIRY_WARNING_MS));
            let warned_at_ms = warned_at_ms.filter(|_| warns && self.warned_of_ms != ends_at_ms);
            if let (Some(end), Some(warned_at_ms)) = (ends_at_ms, warned_at_ms)
                && (warned_at_ms..end).contains(&now_ms)
            {
                self.warned_of_ms = ends_at_ms;
                return Notice::Expiring(end);
            }
            if self.is_stale || ends_at_ms.is_some_and(|end| end <= now_ms) {
                return Notice::Changed;
            }
            // The clock may be set while this waits.
            let due = warned_at_ms.or(ends_at_ms).map(|due_ms| {
                let left_ms = due_ms.saturating_sub(now_ms).min(CLOCK_CHECK_MS);
                Instant::now() + Duration::from_millis(left_ms)
            });
            tokio::select! {
                changed = self.changes.changed() => match changed {
                    Ok(()) => self.is_stale = true,
                    // The broker is gone, and with it every stream.
                    Err(_) => pending().await,
                },
                () = self.alarm.ring(due) => {}
            }
        }
    }
}
