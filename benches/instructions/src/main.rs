//! Runs one path a given number of times and exits: `benches/instructions/run` counts its instructions.
//!
//! Reads no clock, starts no thread, takes no randomness: the same arguments execute the same instructions.

#[path = "../../scenarios/mod.rs"]
mod scenarios;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            for scenario in &scenarios::ALL {
                let (few, many) = scenario.runs;
                println!("{}\t{}\t{}\t{few}\t{many}", scenario.name, scenario.unit, scenario.units);
            }
            ExitCode::SUCCESS
        }
        [name, runs] => {
            let scenario = scenarios::ALL.iter().find(|scenario| scenario.name == name);
            let (Some(scenario), Ok(runs)) = (scenario, runs.parse()) else {
                eprintln!("no such scenario, or not a number: {name} {runs}");
                return ExitCode::from(2);
            };
            measured(&mut (scenario.build)(), runs);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: roomcast-instructions [SCENARIO RUNS]; without, the scenarios are listed");
            ExitCode::from(2)
        }
    }
}

/// A function of its own, so that a profile can leave out how the scenario was built.
#[inline(never)]
fn measured(run: &mut scenarios::Run, runs: u32) {
    for _ in 0..runs {
        run();
    }
}
