//! The lab in which Roadstead's stories are told: real systemd hosts on one machine, with a network that can be cut and
//! plugs that can be pulled, and a load generator that counts every request. It is no part of the product and it
//! knows the product only from outside: packages, commands, ports.

pub mod crash;
pub mod fleet;
pub mod lab;
pub mod load;
