//! Search for a refresh token by its id. The id is derived from session and generation, and is not
//! stored. The search therefore tries the generations of the stored sessions, within limits.

use std::time::{Duration, Instant};

use super::{Error, PAGE, Trail};
use latchkey_domain::ids::SessionId;

/// Time limit of a search that is not exhaustive.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of sessions in such a search.
const MAX_SESSIONS: u64 = 200_000;

/// Maximum number of generations per session in such a search, latest first.
const MAX_GENERATIONS: u32 = 64;

/// Number of tokens between two reads of the clock.
const CHECK_INTERVAL: u64 = 4096;

/// Interval of progress reports.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Limits and progress of a search.
pub struct Search<'a> {
    /// True for a search without limits.
    pub exhaustive: bool,
    /// Called every two seconds with the number of sessions and of tokens.
    pub progress: &'a mut (dyn FnMut(u64, u64) + Send),
    /// Number of sessions searched.
    pub sessions: u64,
    /// Number of tokens compared.
    pub tokens: u64,
    started: Instant,
    reported: Instant,
}

/// Outcome of a search.
pub(super) enum Found {
    /// Session and generation of the token.
    Token(SessionId, u32),
    /// No such token exists.
    Nothing,
    /// No such token within the limits.
    Stopped,
}

impl<'a> Search<'a> {
    /// Starts a search.
    pub fn new(exhaustive: bool, progress: &'a mut (dyn FnMut(u64, u64) + Send)) -> Self {
        let now = Instant::now();
        Self {
            exhaustive,
            progress,
            sessions: 0,
            tokens: 0,
            started: now,
            reported: now,
        }
    }

    /// Returns a description of the limits of a search that is not exhaustive.
    #[must_use]
    pub fn limits() -> String {
        format!(
            "the latest {MAX_GENERATIONS} refresh tokens of up to {MAX_SESSIONS} sessions, for up to {} seconds",
            TIMEOUT.as_secs()
        )
    }

    /// Returns the generation whose token has this id. The second value is true if all generations
    /// were searched.
    fn generation_of(&mut self, jti: &str, id: SessionId, latest: u32) -> (Option<u32>, bool) {
        self.sessions += 1;
        let first = if self.exhaustive {
            0
        } else {
            (latest + 1).saturating_sub(MAX_GENERATIONS)
        };
        for generation in (first..=latest).rev() {
            self.tokens += 1;
            if id.refresh_jti(generation) == jti {
                return (Some(generation), true);
            }
            if self.tokens.is_multiple_of(CHECK_INTERVAL) {
                self.report();
            }
        }
        (None, first == 0)
    }

    fn report(&mut self) {
        if self.reported.elapsed() >= PROGRESS_INTERVAL {
            self.reported = Instant::now();
            (self.progress)(self.sessions, self.tokens);
        }
    }

    fn is_over(&self) -> bool {
        !self.exhaustive && (self.sessions >= MAX_SESSIONS || self.started.elapsed() >= TIMEOUT)
    }
}

impl Trail {
    pub(super) async fn find_refresh(
        &self,
        jti: &str,
        recorded: Option<SessionId>,
        search: &mut Search<'_>,
    ) -> Result<Found, Error> {
        if !SessionId::may_be_refresh_jti(jti) {
            return Ok(Found::Nothing);
        }
        // An event has the session.
        if let Some(id) = recorded {
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
