//! Who the client is by now, and how its connection ends.

use highwater_broker::Refusal;
use highwater_mqtt::{
    Kind, Packet, ReasonCode, Text, Version,
    packet::{Auth, Disconnect, Remarks},
};
use highwater_proto::ErrorCode;

use super::{Client, End};
use crate::{
    metrics::Protocol,
    mqtt::reasons::{nearest, reason, remarks},
};

impl Client {
    /// Renews the credential (section 4.12.1).
    pub(super) fn on_auth(&mut self, auth: &Auth) {
        let Some(method) = &self.authentication_method else {
            return self.leave(ReasonCode::ProtocolError, Remarks::default());
        };
        let said = auth.authentication.as_ref();
        let is_renewal = auth.reason == ReasonCode::ReAuthenticate
            && said.is_some_and(|said| said.method == *method);
        if !is_renewal {
            return self.leave(ReasonCode::ProtocolError, Remarks::default());
        }
        let data = said.and_then(|said| said.data.as_ref());
        let credential = data.and_then(|data| std::str::from_utf8(data.as_bytes()).ok());
        match self
            .login
            .replace(&self.door, credential.unwrap_or_default())
        {
            Ok(()) => {
                let done = Auth::new(ReasonCode::Success, method.clone(), None);
                self.out.push(Packet::Auth(done));
                self.recheck_subscriptions();
            }
            Err(refusal) => self.dismiss(&refusal),
        }
    }

    /// Checks the credential and what it allows again.
    pub(in super::super) fn recheck(&mut self) {
        match self.login.refresh(&self.door).map(drop) {
            Ok(()) => self.recheck_subscriptions(),
            Err(refusal) => self.dismiss(&refusal),
        }
    }

    /// MQTT has no way to end one subscription of several, so the connection ends with it.
    pub(in super::super) fn recheck_subscriptions(&mut self) {
        let principal = self.login.principal();
        let mut refused = self
            .subscriptions
            .iter()
            .filter_map(|s| s.reader.recheck(principal).err());
        if let Some(refusal) = refused.next() {
            drop(refused);
            self.dismiss(&refusal);
        }
    }

    pub(super) fn on_disconnect(&mut self, disconnect: &Disconnect) {
        if let Some(expiry_s) = disconnect.session_expiry_s {
            if self.expiry_s == 0 && expiry_s != 0 {
                return self.leave(ReasonCode::ProtocolError, Remarks::default());
            }
            self.expiry_s = expiry_s;
        }
        self.end = Some(match disconnect.reason {
            ReasonCode::Success => End::Left,
            _ => End::Lost,
        });
    }

    /// The client was silent for too long.
    pub(in super::super) fn on_silence(&mut self) {
        self.leave(ReasonCode::KeepAliveTimeout, Remarks::default());
    }

    pub(in super::super) fn on_taken_over(&mut self) {
        self.say_goodbye(ReasonCode::SessionTakenOver, Remarks::default());
        self.end = Some(End::TakenOver);
    }

    /// Whoever is sent away comes back at once, and has to find its session as it was left: its goodbye is said
    /// once that is written.
    pub(in super::super) fn send_away(&mut self) {
        if let Some(goodbye) = self.goodbye(ReasonCode::ServerShuttingDown, Remarks::default()) {
            self.last_words = self.out.encode(goodbye);
        }
        self.end = Some(End::SentAway);
    }

    /// Ends the connection because of something that cannot be answered in another way.
    pub(in super::super) fn dismiss(&mut self, refusal: &Refusal) {
        self.door.metrics.refused(Protocol::Mqtt, refusal);
        if refusal.code() == ErrorCode::PreconditionFailed {
            return self.on_taken_over();
        }
        self.say_goodbye(reason(refusal, Kind::Disconnect), remarks(refusal));
        self.end = Some(End::Dismissed(refusal.code()));
    }

    /// Ends the connection; whatever was said before is said again when the client is back.
    pub(super) fn leave(&mut self, reason: ReasonCode, remarks: Remarks) {
        self.say_goodbye(reason, remarks);
        self.end = Some(End::Dismissed(nearest(reason)));
    }

    fn say_goodbye(&mut self, reason: ReasonCode, remarks: Remarks) {
        if let Some(goodbye) = self.goodbye(reason, remarks) {
            self.out.push(goodbye);
        }
    }

    /// The DISCONNECT, if one can be sent. The reason is said in words too: Paho reads no reason code of a
    /// packet that ends with it.
    fn goodbye(&self, reason: ReasonCode, remarks: Remarks) -> Option<Packet> {
        if self.end.is_some() || self.version == Version::V3_1_1 {
            return None;
        }
        let mut disconnect = Disconnect::new(reason);
        disconnect.remarks = match remarks.is_empty() {
            true => Remarks::because(Text::from_static(reason.name())),
            false => remarks,
        };
        Some(Packet::Disconnect(disconnect))
    }

    /// Nothing follows a DISCONNECT: what could not be answered is asked again.
    pub(super) fn acknowledge(&mut self, packet: Packet) {
        if self.end.is_none() {
            self.out.push(packet);
        }
    }

    /// The socket is of no use any more.
    pub(in super::super) fn on_broken(&mut self) {
        self.end.get_or_insert(End::Lost);
        self.out.discard();
    }
}
