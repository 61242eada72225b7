//! What users live through, told on real hosts: one file per story.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test stops at its first surprise")]

mod agent_killed;
mod agent_upgrade;
mod analysis;
mod backups;
mod backups_in_a_bucket;
mod backups_on_demand;
mod bad_balancers;
mod bad_health;
mod bad_hosts;
mod bad_units;
mod broken_releases;
mod celery;
mod celery_bad;
mod cloned_host;
mod configuration;
mod controller_killed;
mod damaged_state;
mod database_restore;
mod disk_full;
mod drift;
mod drills;
mod enrollment;
mod every_kind;
mod every_statement;
mod everybody_returns;
mod failover;
mod first_deployment;
mod foreign_projects;
mod forensics;
mod gates;
mod host_away;
mod identity;
mod install_page;
mod jobs;
mod kill_matrix;
mod lost_writes;
mod manual_rollback;
mod mariadb;
mod migration_credentials;
mod migration_runner;
mod migration_that_fails;
mod own_units;
mod planned_migrations;
mod poolers;
mod power_cut;
mod purge;
mod quick_commands;
mod restored;
mod roles_and_hooks;
mod rough_network;
mod runs_once;
mod s3_server;
mod secrets;
mod static_files_published;
mod steering;
mod traffic;
mod untrusted_bundles;
mod upgrade_under_load;
mod wheels;
mod wild_app;
mod workers_and_beat;
mod wrong_clock;
mod zones;

use std::time::Duration;

/// How long a thing may take on a busy machine before it counts as not happening.
const SOON: Duration = Duration::from_secs(60);
