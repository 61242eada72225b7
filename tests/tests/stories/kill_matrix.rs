//! The kill matrix: every step, before it, during it and after it, with the agent, the process that works for it, the controller or the
//! whole host killed, or host and controller cut off from each other. The list is made from the steps that the agent knows. `make test`
//! takes a part of it, another each day; `make kill-matrix` takes all of it, on several fleets at once. Its second part does the same in
//! the states of a rollout in which no step runs, behind a balancer.

mod cells;
mod ends;
mod ground;
mod rows;
mod states;
mod strike;

use cells::Cell;
use ends::End;
use ground::Ground;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Fleets that all kills are shared out to. Most of a kill is waiting.
const FLEETS: usize = 4;
/// So many kills are worth another fleet.
const CELLS_OF_A_FLEET: usize = 20;
/// Some steps are short: a kill that came too late is tried again, so often at most.
const ATTEMPTS: u32 = 8;

#[test]
fn every_kill_ends_as_without_it_or_goes_back_and_says_why() {
    let (cells, fleets) = match std::env::var("ROADSTEAD_KILLS").as_deref() {
        Ok("all") => (cells::all(), FLEETS),
        Ok(words) => {
            let named = |cell: &Cell| words.split(',').any(|word| cell.to_string().contains(word));
            let cells: Vec<Cell> = cells::all().into_iter().filter(named).collect();
            if cells.is_empty() && words.split(',').any(|word| states::knows(word) || word == crate::every_statement::WORD) {
                return;
            }
            let fleets = cells.len().div_ceil(CELLS_OF_A_FLEET).min(FLEETS);
            (cells, fleets)
        }
        Err(_) => {
            let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
            println!("the kills of day {day}");
            (cells::of_day(usize::try_from(day).unwrap()), 1)
        }
    };
    assert!(!cells.is_empty(), "ROADSTEAD_KILLS names no kill");
    let open = Mutex::new(VecDeque::from(cells.clone()));
    let ended = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 1..=fleets {
            let (open, ended) = (&open, &ended);
            scope.spawn(move || work(&format!("kills-{number}"), open, ended));
        }
    });
    let ended = ended.into_inner().unwrap();
    let back = ended.iter().filter(|(_, end)| *end == Ok(End::WentBack)).count();
    let wrong: Vec<_> = ended.iter().filter_map(|(cell, end)| end.as_ref().err().map(|why| format!("{cell}: {why}"))).collect();
    println!("{} kills, {back} went back and said why, {} were wrong", ended.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(ended.len(), cells.len());
}

#[test]
fn every_kill_in_a_state_of_traffic_ends_done_or_goes_back_and_says_why() {
    states::run();
}

/// Takes kill after kill, on one fleet until something is wrong with it.
fn work(name: &str, open: &Mutex<VecDeque<Cell>>, ended: &Mutex<Vec<(Cell, Result<End, String>)>>) {
    let next = || open.lock().unwrap().pop_front();
    let mut ground = None;
    while let Some(cell) = next() {
        let ready = ground.get_or_insert_with(|| Ground::new(name));
        let began = Instant::now();
        let end = kill(ready, cell);
        println!("{cell}: {end:?}, {:.1} s", began.elapsed().as_secs_f64());
        match end {
            Ok(_) => {}
            // for the next one, a fleet that nobody has touched
            Err(_) => ground = None,
        }
        ended.lock().unwrap().push((cell, end));
    }
}

/// Tries one kill until it lands.
fn kill(ground: &mut Ground, cell: Cell) -> Result<End, String> {
    for number in 0..ATTEMPTS {
        let attempt = ground.attempt(cell, number);
        let end = ground.end_of(cell, &attempt.done)?;
        ground.roll_back();
        ground.back_to_the_old();
        if end == End::WentBack {
            // what was found broken is not deployed again
            ground.renew_good();
        }
        if attempt.landed {
            return Ok(end);
        }
    }
    Err(format!("never hit in {ATTEMPTS} attempts"))
}
