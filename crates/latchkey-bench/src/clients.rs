//! Clients, their requests, and the checks of the responses.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use latchkey_testkit::PASSWORD;

use crate::wire::{Answer, Connection, get, post, text};

/// Requests that were not sent yet, each with its expected status.
pub type Pile = Arc<Mutex<Vec<(Vec<u8>, u16)>>>;

/// One client on one connection.
pub struct Client {
    connection: Connection,
    job: Job,
}

/// Requests of a client.
pub enum Job {
    /// Sends requests from a pile that all clients share.
    Fresh(Pile),
    /// Requests the key set at this path.
    KeySet(&'static str),
    /// Holds refresh tokens of several sessions, and refreshes them in turn.
    Rotates {
        path: &'static str,
        held: VecDeque<String>,
        access: String,
    },
    /// Repeats one request.
    Same {
        request: Vec<u8>,
        expected: &'static [u8],
    },
    /// Signs in, each time as another user.
    SignsIn {
        next: usize,
        step: usize,
        users: usize,
    },
}

impl Client {
    pub async fn new(port: u16, job: Job) -> Self {
        Self {
            connection: Connection::open(port).await.unwrap(),
            job,
        }
    }

    /// Returns the last access token, if the client rotates sessions and has one.
    pub fn access(&self) -> Option<&str> {
        match &self.job {
            Job::Rotates { access, .. } if !access.is_empty() => Some(access),
            _ => None,
        }
    }

    /// Returns the refresh tokens that the client holds.
    pub fn into_held(self) -> VecDeque<String> {
        match self.job {
            Job::Rotates { held, .. } => held,
            _ => VecDeque::new(),
        }
    }

    /// Sends one request. Returns a wrong response in words as an error.
    pub async fn turn(&mut self) -> Result<(), String> {
        let Self { connection, job } = self;
        match job {
            Job::Fresh(pile) => {
                let next = pile.lock().unwrap().pop();
                let (request, status) = next.ok_or("the pile is empty")?;
                let answer = connection
                    .ask(&request)
                    .await
                    .map_err(|error| error.to_string())?;
                let is_correct = answer.status == status && (status != 200 || answer.body == b"{}");
                if is_correct {
                    Ok(())
                } else {
                    Err(summary(&answer))
                }
            }
            Job::KeySet(path) => {
                let answer = ask(connection, &get(path), 200).await?;
                if answer.body.starts_with(b"{\"keys\":[{") {
                    Ok(())
                } else {
                    Err(summary(&answer))
                }
            }
            Job::Rotates { path, held, access } => {
                let refresh = held.pop_front().ok_or("the client holds no token")?;
                let request = post(path, &format!("{{\"refresh\":\"{refresh}\"}}"));
                let answer = ask(connection, &request, 200).await?;
                let (Some(new), Some(next)) =
                    (text(answer.body, "access"), text(answer.body, "refresh"))
                else {
                    return Err(summary(&answer));
                };
                if *next == refresh
                    || new == access
                    || new.split('.').count() != 3
                    || next.split('.').count() != 3
                {
                    return Err("the tokens are not new".to_owned());
                }
                new.clone_into(access);
                held.push_back(next.to_owned());
                Ok(())
            }
            Job::Same { request, expected } => {
                let answer = ask(connection, request, 200).await?;
                if answer.body == *expected {
                    Ok(())
                } else {
                    Err(summary(&answer))
                }
            }
            Job::SignsIn { next, step, users } => {
                *next = (*next + *step) % *users;
                let body = format!("{{\"username\":\"user{next}\",\"password\":\"{PASSWORD}\"}}");
                let answer = ask(connection, &post("/api/token/", &body), 200).await?;
                match (text(answer.body, "access"), text(answer.body, "refresh")) {
                    (Some(_), Some(_)) => Ok(()),
                    _ => Err(summary(&answer)),
                }
            }
        }
    }
}

async fn ask<'a>(
    connection: &'a mut Connection,
    request: &[u8],
    status: u16,
) -> Result<Answer<'a>, String> {
    let answer = connection
        .ask(request)
        .await
        .map_err(|error| error.to_string())?;
    if answer.status == status {
        Ok(answer)
    } else {
        Err(summary(&answer))
    }
}

/// Returns the status and the first 80 characters of the body, so that no whole token is printed.
fn summary(answer: &Answer<'_>) -> String {
    let body: String = String::from_utf8_lossy(answer.body)
        .chars()
        .take(80)
        .collect();
    format!("{} {body}", answer.status)
}
