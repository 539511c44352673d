//! The name server of the media nodes: it has the addresses of each cluster's origins under one name.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::net::UdpSocket;

use super::network::IpVersion;

/// Seconds for which an answer is valid, as in a Kubernetes cluster.
const TIME_TO_LIVE: u32 = 5;

/// A name server. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct NameServer(Arc<Mutex<HashMap<String, Answers>>>);

#[derive(Debug, Default)]
struct Answers {
    origins: Vec<IpAddr>,
    fault: Option<DnsFault>,
}

/// What a name server does instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DnsFault {
    /// Nothing: queries time out.
    Silent,
    /// It reports that it has failed.
    ServerFailure,
}

/// The name of a cluster's origins. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct ServiceName {
    server: NameServer,
    pub(crate) name: String,
}

impl ServiceName {
    /// Sets the addresses of the origins.
    pub(crate) fn set_origins(&self, origins: Vec<IpAddr>) {
        self.change(|answers| answers.origins = origins);
    }

    /// Begins a fault, or ends it.
    pub(crate) fn set_fault(&self, fault: Option<DnsFault>) {
        self.change(|answers| answers.fault = fault);
    }

    fn change(&self, change: impl FnOnce(&mut Answers)) {
        change(self.server.0.lock().entry(self.name.clone()).or_default());
    }
}

impl Drop for ServiceName {
    fn drop(&mut self) {
        self.server.0.lock().remove(&self.name);
    }
}

impl NameServer {
    /// Starts to answer.
    pub(crate) async fn start() -> Result<Self> {
        let server = Self(Arc::default());
        for version in [IpVersion::V4, IpVersion::V6] {
            let socket = UdpSocket::bind((version.own(), 53)).await;
            let socket = socket.context("open the port of the name server")?;
            tokio::spawn(server.clone().serve(socket));
        }
        Ok(server)
    }

    /// Adds the name of a cluster's origins.
    pub(crate) fn add(&self, cluster: &str) -> ServiceName {
        ServiceName {
            server: self.clone(),
            name: format!("origins.{cluster}.test"),
        }
    }

    async fn serve(self, socket: UdpSocket) {
        let mut packet = [0; 2048];
        while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
            let query = packet.get(..length).unwrap_or_default();
            if let Some(answer) = self.answer(query) {
                // A client that does not receive it asks again.
                drop(socket.send_to(&answer, peer).await);
            }
        }
    }

    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut message = Message::from_vec(query).ok()?.into_response();
        let query = message.queries.first()?.clone();
        let name = query.name().to_ascii();
        let names = self.0.lock();
        match names.get(name.trim_end_matches('.')) {
            None => message.metadata.response_code = ResponseCode::NXDomain,
            Some(answers) => match answers.fault {
                Some(DnsFault::Silent) => return None,
                Some(DnsFault::ServerFailure) => {
                    message.metadata.response_code = ResponseCode::ServFail;
                }
                None => {
                    let data = answers.origins.iter().filter_map(|origin| {
                        match (query.query_type(), *origin) {
                            (RecordType::A, IpAddr::V4(it)) => Some(RData::A(it.into())),
                            (RecordType::AAAA, IpAddr::V6(it)) => Some(RData::AAAA(it.into())),
                            _ => None,
                        }
                    });
                    let name = query.name();
                    let record = |data| Record::from_rdata(name.clone(), TIME_TO_LIVE, data);
                    message.add_answers(data.map(record));
                }
            },
        }
        drop(names);
        message.to_vec().ok()
    }
}
