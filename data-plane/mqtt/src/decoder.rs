//! From the bytes of one connection to its packets, in the order and from the side they may come.

use bytes::BytesMut;

use crate::{
    error::DecodeError,
    frame::Header,
    kind::Kind,
    limits::Limits,
    packet::{Connect, Packet},
    reader::Reader,
    sender::Sender,
    version::Version,
};

/// Reads what one side of a connection sends. All it remembers is the version.
///
/// After an error the connection is lost: what is in the buffer has no meaning any more.
#[derive(Debug, Clone)]
pub struct Decoder {
    sender: Sender,
    /// Known once a CONNECT has named it.
    version: Option<Version>,
    limits: Limits,
}

impl Decoder {
    /// For a server: a CONNECT comes first, and decides the version.
    pub fn of_client(limits: Limits) -> Decoder {
        Decoder {
            sender: Sender::Client,
            version: None,
            limits,
        }
    }

    /// For a client that has sent a CONNECT of this version.
    pub fn of_server(version: Version, limits: Limits) -> Decoder {
        Decoder {
            sender: Sender::Server,
            version: Some(version),
            limits,
        }
    }

    /// The connection's version. When a CONNECT is refused, the one it is answered in; nothing if it did
    /// not get as far as naming one.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// What is allowed from here on. A server may want to be narrower before it knows who it is.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes the next packet out of the buffer. Nothing, and nothing taken, when it is not complete.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
        let Some(&first) = buf.first() else {
            return Ok(None);
        };
        // Before anything is waited for: what may not come now is not worth its bytes.
        let (kind, _) = Kind::of(first)?;
        self.check_kind(kind)?;
        let header = Header::peek(buf, &self.limits)?;
        let Some(frame) = header.and_then(|header| header.take(buf)) else {
            return Ok(None);
        };
        let packet = match self.version {
            Some(version) => Packet::decode(frame, version, &self.limits)?,
            None => self.connect(Reader::new(frame.body))?,
        };
        self.sender.check(&packet)?;
        Ok(Some(packet))
    }

    fn check_kind(&self, kind: Kind) -> Result<(), DecodeError> {
        match (self.version, kind) {
            (None, Kind::Connect) => Ok(()),
            (None, _) => Err(DecodeError::ConnectExpected(kind)),
            (Some(_), Kind::Connect) if self.sender == Sender::Client => {
                Err(DecodeError::ConnectRepeated)
            }
            (Some(version), _) => self.sender.check_kind(kind, version),
        }
    }

    /// The version is kept as soon as it is known, for the answer if the rest is not right.
    fn connect(&mut self, mut reader: Reader) -> Result<Packet, DecodeError> {
        let version = Version::read(&mut reader)?;
        self.version = Some(version);
        Connect::decode(version, reader, &self.limits).map(Packet::from)
    }
}
