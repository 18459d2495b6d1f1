//! What a request shows to say who it is: the `Authorization` header, and nothing else.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tasker_core::Client;
use tasker_core::token::{TOKEN_PREFIX, Token};

/// What a request shows. Has no `Debug`: it holds secrets.
pub(crate) enum Credentials {
    /// Nothing.
    None,
    /// Something that says nothing: another scheme, two headers, a token that is none.
    Unreadable,
    /// A token: `Bearer TOKEN`, or `Basic` with the token as the user's name, as clients of taskfarm send it.
    Token(Token),
    /// A user's name and password.
    Password { user: Client, password: String },
}

impl Credentials {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION);
        match (values.next(), values.next()) {
            (None, _) => Self::None,
            (Some(value), None) => value
                .to_str()
                .ok()
                .and_then(parse)
                .unwrap_or(Self::Unreadable),
            (Some(_), Some(_)) => Self::Unreadable,
        }
    }
}

fn parse(text: &str) -> Option<Credentials> {
    let (scheme, rest) = text.split_once(' ')?;
    let rest = rest.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        return Token::read(rest).map(Credentials::Token);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    if user.starts_with(TOKEN_PREFIX) {
        return Token::read(user).map(Credentials::Token);
    }
    Some(Credentials::Password {
        user: Client::parse(user).ok()?,
        password: password.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn read(values: &[&str]) -> Credentials {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        Credentials::read(&headers)
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn a_token_comes_in_two_ways() {
        let (token, text) = Token::mint();
        for value in [
            format!("Bearer {text}"),
            format!("bearer  {text}"),
            basic(&format!("{text}:")),
            basic(&format!("{text}:unused")),
        ] {
            match read(&[&value]) {
                Credentials::Token(read) => assert_eq!(read.key, token.key),
                _ => panic!("{value}"),
            }
        }
    }

    #[test]
    fn a_password_may_hold_anything() {
        for password in ["", "a:b", " é\t", "tsk_"] {
            match read(&[&basic(&format!("ann:{password}"))]) {
                Credentials::Password {
                    user,
                    password: read,
                } => {
                    assert_eq!((user.as_str(), read.as_str()), ("ann", password));
                }
                _ => panic!("{password:?}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        let (_, text) = Token::mint();
        let bearer = format!("Bearer {text}");
        assert!(matches!(read(&[]), Credentials::None));
        for values in [
            &[&*bearer, &*bearer][..],
            &["Bearer"],
            &["Bearer tsk_x"],
            &["Digest x"],
            &["Basic !"],
            &[&basic("nobody")],
            &[&basic("a b:x")],
            &[&basic(&format!("{text}x:"))],
            &[&text],
        ] {
            assert!(
                matches!(read(values), Credentials::Unreadable),
                "{values:?}"
            );
        }
    }
}
