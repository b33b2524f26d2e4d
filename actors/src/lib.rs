//! The hands, the clocks and the supervisors of bitchat.

pub mod channel_book;
pub mod chat_desk;
pub mod contact_book;
pub mod mesh_manager;
