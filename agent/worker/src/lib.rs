//! The deciding shell of an agent: receives orders, makes them durable in journals, carries each to its end and says what
//! became of it. What it decides with is `roadstead-deployment`; what it acts through is passed in: the host as
//! [`hands::Hands`], the file system as [`disk::Disk`], the time of day as [`clock::WallClock`], threads that wait for the
//! disk as [`tasks::Tasks`]. It is not the agent: it knows no wire, no systemd, no release and no settings, and nothing in it
//! reads a clock, a file or chance but the real forms of those four. So a simulator can run hundreds of workers in one thread
//! on a clock of its own, and the same code as on a host decides.

mod app;
pub mod clock;
pub mod contact;
pub mod disk;
pub mod failure;
pub mod files;
pub mod hands;
pub mod journal;
pub mod lease;
pub mod leases;
pub mod output;
pub mod redial;
pub mod runner;
pub mod samples;
pub mod state;
pub mod tasks;
pub mod watchdog;
pub mod worker;
