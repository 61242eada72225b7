//! Named limits of everything that comes from outside. Sizes in bytes unless the name says otherwise.

use crate::Millis;

/// Labels of one host, terms of one selector.
pub const LABELS_MAX: usize = 32;
/// Hosts in one rollout.
pub const HOSTS_PER_ROLLOUT_MAX: usize = 10_000;
/// The longest that any deadline, bake or pause may be: a week.
pub const SPAN_MAX: Millis = Millis::from_secs(7 * 24 * 3600);
/// The longest that a rollout may wait at its gates: a quarter.
pub const GATES_SPAN_MAX: Millis = Millis::from_secs(92 * 24 * 3600);
/// Approvals, windows, and freezes of an environment, each.
pub const GATES_MAX: usize = 50;
/// Steps of a canary.
pub const CANARY_STEPS_MAX: usize = 20;
/// Queries of an environment's analysis, and checks, each.
pub const ANALYSIS_MAX: usize = 20;
/// The name of a query or a check, in characters.
pub const ANALYSIS_NAME_MAX: usize = 60;
/// A query as it is written.
pub const QUERY_BYTES_MAX: usize = 4 * 1024;
/// Failures, or looks that tell nothing, that may be in a row.
pub const IN_A_ROW_MAX: u32 = 1000;
/// The shortest time between two looks.
pub const LOOK_EVERY_MIN: Millis = Millis::from_secs(1);
/// An address that is asked over HTTP.
pub const URL_BYTES_MAX: usize = 2048;
/// A text that an answer is to contain.
pub const CONTAINS_BYTES_MAX: usize = 1024;
/// What a metrics server may answer to one query.
pub const QUERY_ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Attempts of one host in one rollout.
pub const ATTEMPTS_MAX: u32 = 100;
/// A `roadstead.toml` or an environment file.
pub const CONFIG_FILE_BYTES_MAX: u64 = 256 * 1024;
/// Environment files that are applied together.
pub const ENVIRONMENT_FILES_MAX: usize = 1000;
/// A release's manifest.
pub const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;
/// What a release says of its migrations, their SQL included.
pub const MIGRATION_FACTS_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Migrations of a release.
pub const MIGRATIONS_MAX: usize = 20_000;
/// SQL of one migration that a release carries; the end of a longer one is cut off.
pub const MIGRATION_SQL_BYTES_MAX: usize = 256 * 1024;
/// SQL of all migrations together that a release carries: the newest come first.
pub const MIGRATIONS_SQL_BYTES_MAX: usize = 3 * 1024 * 1024;
/// SQL of one `RunSQL` that is read to judge it.
pub const RUN_SQL_BYTES_MAX: usize = 16 * 1024;
/// SQL of all `RunSQL` together that is read to judge them.
pub const RUN_SQL_ALL_BYTES_MAX: usize = 1024 * 1024;
/// SQL of all new migrations together that a plan tells.
pub const PLAN_SQL_BYTES_MAX: usize = 1024 * 1024;
/// One folder of a release's tree, encoded.
pub const TREE_NODE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// One file of a release.
pub const BLOB_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// All files of a release together.
pub const RELEASE_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Files and folders of a release together.
pub const RELEASE_ENTRIES_MAX: u64 = 500_000;
/// Folders within folders.
pub const TREE_DEPTH_MAX: usize = 64;
/// A file name within a folder (NAME_MAX of Linux).
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// A path within a release.
pub const PATH_BYTES_MAX: usize = 2048;
/// Signatures on one release.
pub const SIGNATURES_MAX: usize = 16;
/// Services of one app.
pub const SERVICES_MAX: usize = 32;
/// Jobs of one app.
pub const JOBS_MAX: usize = 64;
/// Variables that an app declares.
pub const VARIABLES_MAX: usize = 256;
/// The path of a secret in a reference to it.
pub const SECRET_PATH_BYTES_MAX: usize = 512;
/// One part of such a path.
pub const SECRET_SEGMENT_BYTES_MAX: usize = 128;
/// Parts of such a path.
pub const SECRET_SEGMENTS_MAX: usize = 16;
/// The key of a value within a secret.
pub const SECRET_KEY_BYTES_MAX: usize = 128;
/// The value of one variable.
pub const VARIABLE_VALUE_BYTES_MAX: usize = 64 * 1024;
/// All that an environment's configuration says: it stands in every plan, and travels in one message.
pub const CONFIGURATION_BYTES_MAX: usize = 256 * 1024;
/// Values of an environment's configuration.
pub const CONFIGURATION_ENTRIES_MAX: usize = 512;
/// Files that an app takes from its configuration.
pub const CONFIGURED_FILES_MAX: usize = 64;
/// One gRPC message.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// One part of a blob on the wire.
pub const BLOB_PART_BYTES: usize = 64 * 1024;
/// Blobs that one request may ask for.
pub const BLOBS_PER_REQUEST_MAX: usize = 1024;
/// Output of one step that is kept from its beginning, and again from its end.
pub const STEP_OUTPUT_HEAD_BYTES: usize = 64 * 1024;
/// See [`STEP_OUTPUT_HEAD_BYTES`].
pub const STEP_OUTPUT_TAIL_BYTES: usize = 192 * 1024;
/// One line of output; the rest of a longer one is counted and dropped.
pub const OUTPUT_LINE_BYTES_MAX: usize = 8 * 1024;
/// What is read of a check's answer.
pub const HEALTH_BODY_BYTES_MAX: usize = 64 * 1024;
/// A failure's detail as it travels in a report.
pub const FAILURE_DETAIL_BYTES_MAX: usize = 16 * 1024;
/// What a unit may say of itself to systemd, as far as it is looked at.
pub const STATUS_TEXT_BYTES_MAX: usize = 1024;
/// Tasks that a worker may say it runs.
pub const TASKS_MAX: u32 = 1_000_000;
/// A text in the evidence of a backup.
pub const BACKUP_TEXT_BYTES_MAX: usize = 1024;
/// What is told one by one of what a restore loses: tables, migrations, and what else.
pub const LOSS_LINES_MAX: usize = 100;
/// What a step says of how far it is, in words.
pub const PROGRESS_NOTE_BYTES_MAX: usize = 2048;
