//! Effects of actions: the protocol of an instance, and the behaviour of Redis.

use super::{
    Blacklist, CacheIdentity, Epoch, Janitor, Outcome, Redis, Request, Rules, State, Status,
    steps::MARGIN,
};

impl Redis {
    /// Stores a new cache epoch, unless one exists. Returns its number.
    pub(super) fn store_epoch(&mut self) -> u8 {
        if self.epoch.is_none() {
            self.last_epoch += 1;
        }
        let name = self.epoch.map_or(self.last_epoch, |epoch| epoch.name);
        self.epoch = Some(Epoch {
            name,
            renewed: true,
        });
        name
    }
}

impl Blacklist {
    /// Expires an old epoch and an old entry. Tickets live for a day, so they survive.
    pub(super) fn jump(&self, redis: &mut Redis) {
        redis.clock += 1;
        redis.margin = redis.margin.saturating_sub(1);
        if redis.margin == 0 {
            redis.entry = Status::Live;
        }
        let endless = self.rules == Rules::EpochsNeverExpire;
        let left = redis.epoch.filter(|epoch| epoch.renewed || endless);
        redis.epoch = left.map(|epoch| Epoch {
            renewed: false,
            ..epoch
        });
    }

    pub(super) fn request(&self, state: &mut State, number: usize, outcome: Outcome) {
        let entry_first = self.rules == Rules::EntryFirst;
        state.instances[number].request = match state.instances[number].request {
            Request::None => return,
            Request::WriteRow(status) => {
                state.row = state.row.max(status);
                if entry_first {
                    Request::Answer(status)
                } else {
                    Request::WriteEntry(status)
                }
            }
            Request::WriteEntry(status) => {
                let written = self.write(state, number, status, outcome);
                // The row is written, so the request continues. The other instance may miss the
                // revocation until its next replay.
                if !written && status == Status::Revoked {
                    state.instances[1 - number].replay_due = true;
                }
                if entry_first {
                    Request::WriteRow(status)
                } else {
                    Request::Answer(status)
                }
            }
            Request::Answer(status) => {
                state.acknowledged = state.acknowledged.max(status);
                Request::None
            }
        };
    }

    /// Write: raises the entry in one command. Returns true if the answer arrived.
    fn write(&self, state: &mut State, number: usize, status: Status, outcome: Outcome) -> bool {
        if outcome != Outcome::NotSent {
            let before = state.redis.entry;
            state.redis.entry = if self.rules == Rules::LastWriteWins {
                status
            } else {
                before.max(status)
            };
            state.status_decreased |= state.redis.entry < before;
            state.redis.margin = MARGIN;
        }
        if outcome != Outcome::Done {
            state.failures -= 1;
            let instance = &mut state.instances[number];
            if self.rules != Rules::FailedWritesAreIgnored {
                instance.failed += 1;
                instance.untrusted = true;
            }
        }
        outcome == Outcome::Done
    }

    pub(super) fn janitor(&self, state: &mut State, number: usize, outcome: Outcome) {
        state.instances[number].janitor = match state.instances[number].janitor {
            Janitor::Idle => self.probe(state, number),
            Janitor::Rebuild { ticket, identity } => Janitor::Read {
                ticket,
                identity,
                row: state.row,
            },
            Janitor::Read {
                ticket,
                identity,
                row,
            } => {
                if self.write(state, number, row, outcome) {
                    Janitor::Wrote { ticket, identity }
                } else {
                    Janitor::Idle
                }
            }
            Janitor::Wrote { ticket, identity } => {
                self.seal(state, number, (ticket, identity), outcome);
                Janitor::Idle
            }
            Janitor::Replay {
                row,
                untrusted_before,
            } => {
                if self.write(state, number, row, outcome) {
                    let missing = state.row > row;
                    let instance = &mut state.instances[number];
                    // A connection that failed meanwhile needs another replay.
                    instance.untrusted &= !untrusted_before;
                    instance.replay_due &= missing;
                }
                Janitor::Idle
            }
        };
    }

    /// Probe: renews the cache epoch, then starts a rebuild with a ticket, or a replay with the
    /// current row.
    fn probe(&self, state: &mut State, number: usize) -> Janitor {
        let instance = &mut state.instances[number];
        let identity = CacheIdentity {
            process: state.redis.process,
            clock: state.redis.clock,
        };
        let same_process = instance
            .rebuilt
            .is_some_and(|rebuilt| rebuilt.process == identity.process)
            || self.rules == Rules::FailedConnectionsAreTrusted;
        let same_clock = instance
            .rebuilt
            .is_some_and(|rebuilt| rebuilt.clock == identity.clock)
            || matches!(
                self.rules,
                Rules::ClockJumpsAreIgnored | Rules::EpochsNeverExpire
            );
        let ours = |epoch: &Epoch| {
            instance.sealed == Some(epoch.name) || self.rules == Rules::EveryEpochIsTrusted
        };
        let epoch = state.redis.epoch.filter(ours);
        if let Some(epoch) =
            epoch.filter(|_| same_clock || self.rules == Rules::EpochIsRenewedAfterJump)
        {
            state.redis.epoch = Some(Epoch {
                renewed: true,
                ..epoch
            });
        }
        if epoch.is_none() || instance.failed != instance.covered || !same_process || !same_clock {
            // The cache is not trusted until it is rebuilt.
            instance.untrusted |= instance.rebuilt.is_some();
            state.redis.tickets[number] = Some(instance.failed);
            return Janitor::Rebuild {
                ticket: instance.failed,
                identity,
            };
        }
        // The service replays every second. Without a missing entry, that changes no state.
        if instance.untrusted || instance.replay_due {
            return Janitor::Replay {
                row: state.row,
                untrusted_before: instance.untrusted,
            };
        }
        Janitor::Idle
    }

    /// Seal: one script stores the cache epoch if the ticket still exists. Trust: a probe then
    /// checks that the process is the same.
    fn seal(
        &self,
        state: &mut State,
        number: usize,
        (ticket, identity): (u8, CacheIdentity),
        outcome: Outcome,
    ) {
        let kept =
            state.redis.tickets[number] == Some(ticket) || self.rules == Rules::SealWithoutTicket;
        let same_clock = identity.clock == state.redis.clock || self.rules == Rules::SealAfterJump;
        let kept = kept && same_clock;
        if outcome != Outcome::NotSent && kept {
            state.redis.store_epoch();
            state.redis.tickets[number] = None;
        }
        let same_process = state.redis.process == identity.process
            || self.rules == Rules::FailedConnectionsAreTrusted;
        if outcome != Outcome::Done {
            state.failures -= 1;
            state.instances[number].untrusted = true;
        } else if kept && same_process {
            let missing = state.row > state.redis.entry;
            let instance = &mut state.instances[number];
            instance.covered = ticket;
            instance.rebuilt = Some(identity);
            instance.sealed = state.redis.epoch.map(|epoch| epoch.name);
            instance.untrusted = false;
            instance.replay_due &= missing;
        }
    }
}
