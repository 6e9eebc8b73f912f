//! What clients do, and what they know of the right answer.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use crate::{
    stack::PASSWORD,
    wire::{Answer, Connection, get, post, text},
};

/// Requests that nobody has sent yet, each with the status that is right for it.
pub type Pile = Arc<Mutex<Vec<(Vec<u8>, u16)>>>;

/// One client on one connection.
pub struct Client {
    connection: Connection,
    job: Job,
}

/// What it does.
pub enum Job {
    /// Takes one request after the other from a pile that all share.
    Fresh(Pile),
    /// The key set.
    KeySet,
    /// Holds the refresh tokens of as many sessions, and exchanges one after the other for the next.
    Rotates {
        path: &'static str,
        held: VecDeque<String>,
        access: String,
    },
    /// Sends one request again and again.
    Same {
        request: Vec<u8>,
        expected: &'static [u8],
    },
    /// Signs in, each time as the next user.
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

    /// What the client got last, if it is one that holds tokens.
    pub fn access(&self) -> Option<&str> {
        match &self.job {
            Job::Rotates { access, .. } if !access.is_empty() => Some(access),
            _ => None,
        }
    }

    /// The refresh tokens that it holds.
    pub fn into_held(self) -> VecDeque<String> {
        match self.job {
            Job::Rotates { held, .. } => held,
            _ => VecDeque::new(),
        }
    }

    /// One request. What was wrong with the answer, if anything was.
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
                let right = answer.status == status && (status != 200 || answer.body == b"{}");
                if right { Ok(()) } else { Err(told(&answer)) }
            }
            Job::KeySet => {
                let answer = ask(connection, &get("/.well-known/jwks.json"), 200).await?;
                if answer.body.starts_with(b"{\"keys\":[{") {
                    Ok(())
                } else {
                    Err(told(&answer))
                }
            }
            Job::Rotates { path, held, access } => {
                let refresh = held.pop_front().ok_or("it holds no token")?;
                let request = post(path, &format!("{{\"refresh\":\"{refresh}\"}}"));
                let answer = ask(connection, &request, 200).await?;
                let (Some(new), Some(next)) =
                    (text(answer.body, "access"), text(answer.body, "refresh"))
                else {
                    return Err(told(&answer));
                };
                if *next == refresh
                    || new == access
                    || new.split('.').count() != 3
                    || next.split('.').count() != 3
                {
                    return Err("the tokens are not new ones".to_owned());
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
                    Err(told(&answer))
                }
            }
            Job::SignsIn { next, step, users } => {
                *next = (*next + *step) % *users;
                let body = format!("{{\"username\":\"user{next}\",\"password\":\"{PASSWORD}\"}}");
                let answer = ask(connection, &post("/api/token/", &body), 200).await?;
                match (text(answer.body, "access"), text(answer.body, "refresh")) {
                    (Some(_), Some(_)) => Ok(()),
                    _ => Err(told(&answer)),
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
        Err(told(&answer))
    }
}

/// The token is not told.
fn told(answer: &Answer<'_>) -> String {
    let body: String = String::from_utf8_lossy(answer.body)
        .chars()
        .take(80)
        .collect();
    format!("{} {body}", answer.status)
}
