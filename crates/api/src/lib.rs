//! The `snapback.dev/v1alpha1` kinds: what users write, what they read, and the way from there to the core's types.
//!
//! A policy judges; the `Rollback` that it creates acts and stays as the record. The schemas are strict, bounded and
//! hold no floats; what they cannot express is checked in [`convert`], whose errors name the field.

#![allow(unreachable_pub, reason = "the derive puts copies of the types into a scope of its own")]

pub mod conditions;
pub mod convert;
pub mod crd;
pub mod v1alpha1;
