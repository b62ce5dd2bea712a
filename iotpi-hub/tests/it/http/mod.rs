//! HTTP itself: requests, problems, connections, proxies, compression, the dashboard.

mod behind_proxy;
mod compression;
mod connections;
mod dashboard;
mod early_close;
mod hosts;
mod newer_hub;
mod operations;
mod problems;
mod requests;
