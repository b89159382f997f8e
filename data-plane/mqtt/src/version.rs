//! The versions of MQTT that are spoken, and how the first bytes of a CONNECT say which one it is.

use crate::{error::DecodeError, reader::Reader};

/// A version of the protocol. A CONNECT names it, and it holds for the whole connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1 (OASIS, 2014), protocol level 4.
    V3_1_1,
    /// MQTT 5.0 (OASIS, 2019), protocol level 5.
    V5,
}

impl Version {
    /// The protocol level that a CONNECT of this version carries.
    pub const fn level(self) -> u8 {
        match self {
            Version::V3_1_1 => 4,
            Version::V5 => 5,
        }
    }

    /// Reads the protocol name and level, which stand at the same place in every version
    /// (MQTT-3.1.2-1).
    pub(crate) fn read(reader: &mut Reader) -> Result<Version, DecodeError> {
        // The name is compared as bytes: one that is not UTF-8 is just another unknown protocol.
        let name = reader.binary()?;
        let level = reader.u8()?;
        match (name.as_bytes(), level) {
            (b"MQTT", 4) => Ok(Version::V3_1_1),
            (b"MQTT", 5) => Ok(Version::V5),
            (b"MQTT", level) => Err(DecodeError::UnsupportedVersion {
                level,
                // A client from the future understands the latest form we have, not the oldest.
                answer_in: if level > 5 {
                    Version::V5
                } else {
                    Version::V3_1_1
                },
            }),
            // MQTT 3.1: clients of that time know the return code 0x01.
            (b"MQIsdp", level) => Err(DecodeError::UnsupportedVersion {
                level,
                answer_in: Version::V3_1_1,
            }),
            _ => Err(DecodeError::UnknownProtocol),
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Version::V3_1_1 => "MQTT 3.1.1",
            Version::V5 => "MQTT 5.0",
        })
    }
}
