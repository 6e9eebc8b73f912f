//! The search for a refresh token by its id. The id is derived from session and generation, and is not stored. So the
//! search goes through sessions, within its limits.

use std::time::{Duration, Instant};

use super::{Error, PAGE, Trail};
use crate::domain::ids::SessionId;

/// The time limit of a search that is not exhaustive.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum number of sessions in such a search.
const SESSIONS: u64 = 200_000;

/// The maximum number of generations of each session in such a search, the latest first.
const GENERATIONS: u32 = 64;

/// The number of tokens between two checks of the time.
const STRIDE: u64 = 4096;

/// The interval between two reports of progress.
const INTERVAL: Duration = Duration::from_secs(2);

/// The limits of a search, and its progress.
pub struct Search<'a> {
    /// True for a search without limits.
    pub exhaustive: bool,
    /// Called every two seconds with the number of sessions and of tokens.
    pub progress: &'a mut (dyn FnMut(u64, u64) + Send),
    /// The number of sessions that were searched.
    pub sessions: u64,
    /// The number of tokens that were compared.
    pub tokens: u64,
    begun: Instant,
    reported: Instant,
}

/// The outcome of a search.
pub(super) enum Found {
    /// The token, of this generation.
    Token(SessionId, u32),
    /// There is no such token.
    Nothing,
    /// None within the limits.
    Stopped,
}

impl<'a> Search<'a> {
    /// Begins a search.
    pub fn new(exhaustive: bool, progress: &'a mut (dyn FnMut(u64, u64) + Send)) -> Self {
        let now = Instant::now();
        Self {
            exhaustive,
            progress,
            sessions: 0,
            tokens: 0,
            begun: now,
            reported: now,
        }
    }

    /// Describes the limits of a search that is not exhaustive.
    #[must_use]
    pub fn limits() -> String {
        format!(
            "the latest {GENERATIONS} refresh tokens of up to {SESSIONS} sessions, for up to {} seconds",
            TIMEOUT.as_secs()
        )
    }

    /// Returns the generation whose token has this id, and true if all generations were searched.
    fn generation_of(&mut self, jti: &str, id: SessionId, latest: u32) -> (Option<u32>, bool) {
        self.sessions += 1;
        let least = if self.exhaustive {
            0
        } else {
            (latest + 1).saturating_sub(GENERATIONS)
        };
        for generation in (least..=latest).rev() {
            self.tokens += 1;
            if id.refresh_jti(generation) == jti {
                return (Some(generation), true);
            }
            if self.tokens.is_multiple_of(STRIDE) {
                self.report();
            }
        }
        (None, least == 0)
    }

    fn report(&mut self) {
        if self.reported.elapsed() >= INTERVAL {
            self.reported = Instant::now();
            (self.progress)(self.sessions, self.tokens);
        }
    }

    fn is_over(&self) -> bool {
        !self.exhaustive && (self.sessions >= SESSIONS || self.begun.elapsed() >= TIMEOUT)
    }
}

impl Trail {
    pub(super) async fn find_refresh(
        &self,
        jti: &str,
        noted: Option<SessionId>,
        search: &mut Search<'_>,
    ) -> Result<Found, Error> {
        if !SessionId::may_be_refresh_jti(jti) {
            return Ok(Found::Nothing);
        }
        // An event names the session.
        if let Some(id) = noted {
            let Some(state) = self.sessions.find(id).await? else {
                return Ok(Found::Nothing);
            };
            let (found, _) = search.generation_of(jti, id, state.session.generation);
            return Ok(found.map_or(Found::Nothing, |generation| Found::Token(id, generation)));
        }
        let (mut after, mut complete) = (None, true);
        loop {
            let page = self.sessions.page(after, PAGE).await?;
            for session in &page.sessions {
                let (found, whole) = search.generation_of(jti, session.id, session.generation);
                if let Some(generation) = found {
                    return Ok(Found::Token(session.id, generation));
                }
                complete &= whole;
            }
            search.report();
            after = page.next;
            if after.is_none() {
                return Ok(if complete {
                    Found::Nothing
                } else {
                    Found::Stopped
                });
            }
            if search.is_over() {
                return Ok(Found::Stopped);
            }
        }
    }
}
