//! Several addresses of the same service.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Endpoint, EndpointError};

/// The addresses of a service that has one or several, such as the servers of a cluster; never
/// none.
///
/// In the file it is a list, or a single address as plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints(Vec<Endpoint>);

impl Endpoints {
    /// Each address, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Endpoint> {
        self.0.iter()
    }

    /// The address, if there is no other.
    #[must_use]
    pub fn single(&self) -> Option<&Endpoint> {
        match self.0.as_slice() {
            [endpoint] => Some(endpoint),
            _ => None,
        }
    }

    /// The addresses; `None` if there are none.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>) -> Option<Self> {
        (!endpoints.is_empty()).then_some(Self(endpoints))
    }

    /// An address written in this crate.
    pub(crate) fn fixed(text: &str) -> Self {
        Self(vec![Endpoint::fixed(text)])
    }
}

impl FromStr for Endpoints {
    type Err = EndpointError;

    /// Reads a single address.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(vec![text.parse()?]))
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, endpoint) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{endpoint}")?;
        }
        Ok(())
    }
}

impl Serialize for Endpoints {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.single() {
            Some(endpoint) => endpoint.serialize(serializer),
            None => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Endpoints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrSeveral)
    }
}

struct OneOrSeveral;

impl<'de> Visitor<'de> for OneOrSeveral {
    type Value = Endpoints;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or a list of addresses")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Endpoints, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Endpoints, A::Error> {
        let mut endpoints = Vec::new();
        while let Some(endpoint) = items.next_element()? {
            endpoints.push(endpoint);
        }
        Endpoints::new(endpoints)
            .ok_or_else(|| de::Error::custom("expected at least one address, found an empty list"))
    }
}
