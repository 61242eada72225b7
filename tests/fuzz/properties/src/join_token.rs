//! A join token, as a person pastes it.

use roadstead_pki::{JoinToken, TokenHash};

use crate::text::text;

/// A token has one spelling, both sides know it by one hash, and nothing shows its secret by mistake.
pub fn join_token(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    match JoinToken::parse(text) {
        Ok(token) => {
            assert_eq!(token.reveal(), text.trim(), "a token has two spellings");
            assert_eq!(TokenHash::of_secret(token.secret()).unwrap(), token.hash());
            let other = JoinToken::parse(&format!("rst1.{}.{}", "A".repeat(43), token.authority())).unwrap();
            assert_eq!(format!("{token:?}"), format!("{other:?}"), "the secret is shown");
        }
        Err(refused) => assert!(refused.to_string().len() < 200),
    }
    assert_eq!(TokenHash::of_secret(bytes).is_ok(), bytes.len() == 32);
}
