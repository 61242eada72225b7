//! The kill matrix, second part: the states of a rollout in which no step runs, and balancers, an operator or a gate are waited for. In
//! each of them everybody is killed or cut off, under constant load behind HAProxy. The list is made from the core's phases and stages.

mod cells;
mod ends;
mod hits;
mod holds;
mod street;
mod users;

use cells::Cell;
use ends::End;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use street::Street;

/// Whether a word of `ROADSTEAD_KILLS` names a kill of this part.
pub(super) fn knows(word: &str) -> bool {
    cells::all().iter().any(|cell| cell.to_string().contains(word))
}

/// What is asked for: all, a part by words, or the kills of today.
fn chosen() -> Vec<Cell> {
    match std::env::var("ROADSTEAD_KILLS").as_deref() {
        Ok("all") => cells::all(),
        Ok(words) => {
            let named = |cell: &Cell| words.split(',').any(|word| cell.to_string().contains(word));
            cells::all().into_iter().filter(named).collect()
        }
        Err(_) => {
            let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
            let cells = cells::of_day(usize::try_from(day).unwrap());
            println!("the kills in states of day {day}: {}", cells.iter().map(Cell::to_string).collect::<Vec<_>>().join(", "));
            cells
        }
    }
}

/// Runs the kills on one street, a new one after each that was wrong. A row for each, and what was wrong.
pub(super) fn run() {
    let (mut rows, mut wrong, mut street) = (Vec::new(), Vec::new(), None);
    for cell in chosen() {
        let ready = street.get_or_insert_with(Street::new);
        let began = Instant::now();
        let end = ready.kill(cell);
        let row = row(cell, &end, began.elapsed().as_secs());
        println!("{row}");
        rows.push(row);
        if let Err(why) = end {
            wrong.push(format!("{cell}: {why}"));
            street = None;
        }
    }
    if !rows.is_empty() {
        println!("| kill | end | requests | failed in the moment of the power cut | took |\n|---|---|---|---|---|\n{}", rows.join("\n"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn row(cell: Cell, end: &Result<End, String>, seconds: u64) -> String {
    match end {
        Ok(End { came, requests, in_the_moment }) => {
            let moment = in_the_moment.map_or_else(|| "–".to_owned(), |failed| failed.to_string());
            format!("| {cell} | {came} | {requests} | {moment} | {seconds} s |")
        }
        Err(why) => format!("| {cell} | wrong: {} | | | {seconds} s |", why.lines().next().unwrap_or_default()),
    }
}
