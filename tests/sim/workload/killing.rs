//! The process is killed at any moment, and clients find another one in its place.

use roomcast::hub::journal::Durability;
use serde_json::Value;

use super::Sim;
use crate::app::App;

impl Sim {
    /// Somebody was told that something is done: the best moment to lose it.
    pub(super) fn tempt(&mut self, said: &Value) {
        let once_in = match said["type"].as_str() {
            Some("history_cleared") => 8,
            // Mostly that messages to a user need not come again.
            Some("ack")
                if ["offset", "version", "delivered"].iter().all(|field| said.get(field).is_none()) =>
            {
                8
            }
            Some("ack") => 100,
            _ => return,
        };
        self.doomed |= self.limits.durability != Durability::Off && self.dice.once_in(once_in);
    }

    /// What was told must be there after it, as far as the level promises that.
    pub(super) fn kill(&mut self) {
        if self.trace {
            println!("{} the process is killed at {}", self.step, self.world.now_us);
        }
        let documents = &self.limits.documents;
        let age_us = u64::try_from(documents.age.as_micros()).expect("a short age");
        // Where room for documents is scarce, those that nobody has open make it.
        let until_us = (documents.bytes_total_max > 1 << 20).then(|| self.world.now_us + age_us);
        self.doomed = false;
        self.truth.kept.begin_anew();
        self.truth.muted.end();
        self.truth.banned.end();
        for client in self.clients.iter_mut().filter(|client| !client.over) {
            let here = client.viewer.process == self.world.process;
            let served = here && self.world.links[client.link].is_served();
            self.truth.kept.note(&client.viewer, until_us.filter(|_| served));
            // Nobody can say goodbye.
            client.gave_up = true;
        }
        self.clients.iter_mut().map(|client| &mut client.app).for_each(App::forget_tries);
        self.world.kill(&mut self.dice);
        for (feed, value) in self.channels.values() {
            self.world.post(feed, value);
        }
    }
}
