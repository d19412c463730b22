//! Values that are made up: the same ones after every start, so that a page can be tried without any source.

use std::fmt::Write as _;
use std::time::Duration;

use crate::base::prng::Prng;
use crate::base::shared::Shared;
use crate::config::feed::Demo;
use crate::server::feed::post::{Post, pause};
use crate::server::feed::stop::Stop;

/// Any number.
const SEED: u64 = 20_250_101;
/// Symbols and their first prices, in cents.
const STOCKS: [(&str, u64); 4] = [("ACME", 12_050), ("INIT", 4_280), ("HOOLI", 31_500), ("UMBR", 870)];
/// Cities and their first temperatures, in tenths of a degree above -100.
const CITIES: [(&str, u64); 3] = [("Oslo", 1_042), ("Lagos", 1_298), ("Lima", 1_187)];

/// Makes a value up at once, and then one each `interval`, until it is told to stop.
pub(super) fn run(demo: Demo, interval: Duration, post: &mut Post, stop: &Stop) {
    let mut world = World::new(demo);
    loop {
        post.send(Shared::copy_of(world.next().as_bytes()));
        if pause(post, stop, interval) {
            return;
        }
    }
}

/// What wanders.
#[derive(Debug)]
struct World {
    demo: Demo,
    prng: Prng,
    numbers: Vec<u64>,
}

impl World {
    fn new(demo: Demo) -> World {
        let numbers = match demo {
            Demo::Stocks => STOCKS.iter().map(|(_, price)| *price).collect(),
            Demo::Weather => CITIES.iter().map(|(_, warmth)| *warmth).collect(),
        };
        World { demo, prng: Prng::new(SEED), numbers }
    }

    /// The next value: a JSON object.
    fn next(&mut self) -> String {
        for number in &mut self.numbers {
            // At most half a percent up or down.
            let step = (*number / 200).max(1);
            *number = (*number + self.prng.below(2 * step + 1)).saturating_sub(step).max(100);
        }
        let mut json = String::from("{");
        for (place, number) in self.numbers.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = match self.demo {
                Demo::Stocks => {
                    write!(json, "{comma}\"{}\":{}.{:02}", STOCKS[place].0, number / 100, number % 100)
                }
                Demo::Weather => {
                    let tenths = i64::try_from(*number).unwrap_or_default() - 1_000;
                    let (sign, tenths) = (if tenths < 0 { "-" } else { "" }, tenths.unsigned_abs());
                    write!(json, "{comma}\"{}\":{sign}{}.{}", CITIES[place].0, tenths / 10, tenths % 10)
                }
            };
        }
        json.push('}');
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_values_are_json_objects_that_change_and_repeat() {
        for (demo, keys) in [(Demo::Stocks, 4), (Demo::Weather, 3)] {
            let (mut world, mut again) = (World::new(demo), World::new(demo));
            let values: Vec<String> = (0..1000).map(|_| world.next()).collect();
            for value in &values {
                assert_eq!(*value, again.next());
                let json: serde_json::Value = serde_json::from_str(value).expect("JSON");
                let object = json.as_object().expect("an object");
                assert!(object.len() == keys && object.values().all(serde_json::Value::is_number), "{value}");
            }
            assert_ne!(values[0], values[1]);
        }
    }
}
