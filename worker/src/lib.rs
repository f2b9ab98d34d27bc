//! A fleet worker that keeps WhatsApp Web sessions alive for Laravel applications.
