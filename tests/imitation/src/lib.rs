//! An imitation of WhatsApp Web for tests: a page that unmodified wa-js takes for the real one.
