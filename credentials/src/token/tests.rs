//! The attack list on tokens: whatever is wrong with one, it is refused.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};

use super::*;

const NOW_S: u64 = 1_800_000_000;

struct Stage {
    ed: Ed25519KeyPair,
    keys: KeySet,
    public: String,
}

fn stage() -> Stage {
    let ed = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = URL_SAFE_NO_PAD.encode(ed.public_key().as_ref());
    let keys = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"{public}"}}]}}"#);
    Stage {
        ed,
        keys: KeySet::read(&keys).unwrap(),
        public,
    }
}

impl Stage {
    fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = URL_SAFE_NO_PAD.encode(self.ed.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }

    fn verify(&self, text: &str) -> Result<Claims, TokenError> {
        let audiences = ["highwater".to_owned(), "other".to_owned()];
        let expected = Expected {
            issuer: "https://id.example.com",
            audiences: &audiences,
            now_ms: NOW_S * 1_000,
        };
        verify(text, &self.keys, &expected)
    }
}

const HEADER: &str = r#"{"alg":"EdDSA","kid":"k1","typ":"JWT"}"#;

fn claims() -> String {
    let (exp, iat) = (NOW_S + 300, NOW_S - 5);
    format!(
        r#"{{"iss":"https://id.example.com","aud":"highwater","sub":"ann","exp":{exp},"iat":{iat}}}"#
    )
}

#[test]
fn a_good_token_says_what_it_says() {
    let stage = stage();
    let read = stage.verify(&stage.sign(HEADER, &claims())).unwrap();
    assert_eq!(read.text("sub"), Some("ann"));
    assert_eq!(read.expires_at_ms, (NOW_S + 300) * 1_000);
    let several = claims().replace("\"highwater\"", "[\"x\",\"other\"]");
    assert!(stage.verify(&stage.sign(HEADER, &several)).is_ok());
    // The only key there is needs no name.
    assert!(
        stage
            .verify(&stage.sign(r#"{"alg":"EdDSA"}"#, &claims()))
            .is_ok()
    );
}

#[test]
fn whatever_is_wrong_with_a_token_it_is_refused() {
    let stage = stage();
    let check = |header: &str, from: &str, to: &str, expected: TokenError| {
        let claims = claims();
        assert!(claims.contains(from), "{from}");
        let text = stage.sign(header, &claims.replacen(from, to, 1));
        assert_eq!(stage.verify(&text), Err(expected), "{header} {from} → {to}");
    };
    let header = |header: &str, expected| check(header, "ann", "ann", expected);
    header(r#"{"alg":"none","kid":"k1"}"#, TokenError::Algorithm);
    header(r#"{"alg":"HS256","kid":"k1"}"#, TokenError::Algorithm);
    header(r#"{"alg":"eddsa","kid":"k1"}"#, TokenError::Algorithm);
    header(r#"{"kid":"k1"}"#, TokenError::Algorithm);
    header(
        r#"{"alg":"EdDSA","kid":"../../dev/null"}"#,
        TokenError::UnknownKey,
    );
    header(r#"{"alg":"EdDSA","kid":["k1"]}"#, TokenError::UnknownKey);
    header(
        r#"{"alg":"EdDSA","kid":"k2","jku":"https://evil.example.com"}"#,
        TokenError::UnknownKey,
    );
    header(
        r#"{"alg":"EdDSA","kid":"k1","crit":["exp"],"exp":1}"#,
        TokenError::Header,
    );
    header(
        r#"{"alg":"EdDSA","kid":"k1","typ":"secevent+jwt"}"#,
        TokenError::Header,
    );
    header(
        r#"{"alg":"none","alg":"EdDSA","kid":"k1"}"#,
        TokenError::Malformed,
    );
    header("[]", TokenError::Malformed);

    let claim = |from: &str, to: &str, expected| check(HEADER, from, to, expected);
    claim("id.example.com", "id.example.com/", TokenError::Issuer);
    claim("\"iss\"", "\"isz\"", TokenError::Issuer);
    claim("\"highwater\"", "\"Highwater\"", TokenError::Audience);
    claim("\"highwater\"", "[]", TokenError::Audience);
    claim("\"highwater\"", "{\"highwater\":1}", TokenError::Audience);
    claim(
        "\"sub\":\"ann\"",
        "\"sub\":\"ann\",\"sub\":\"root\"",
        TokenError::Malformed,
    );
    let exp = format!("\"exp\":{}", NOW_S + 300);
    for times in [
        "\"exp\":\"1900000000\"",
        "\"exp\":1900000000.5",
        "\"exp\":1.9e9",
        "\"exp\":-1",
        "\"exq\":1",
    ] {
        claim(&exp, times, TokenError::Times);
    }
    claim(&exp, "\"exp\":18446744073709551615", TokenError::Times);
    claim(
        &exp,
        &format!("\"exp\":{}", NOW_S - 30),
        TokenError::Expired,
    );
    claim("\"iat\"", "\"nbf\":1900000000,\"iat\"", TokenError::NotYet);
    claim("\"iat\"", "\"nbf\":\"0\",\"iat\"", TokenError::Times);
    let iat = format!("\"iat\":{}", NOW_S - 5);
    claim(&iat, &format!("\"iat\":{}", NOW_S + 31), TokenError::NotYet);
}

#[test]
fn a_signature_of_another_or_of_something_else_is_refused() {
    let stage = stage();
    let good = stage.sign(HEADER, &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let forged = message.replacen('.', &format!(".{}", URL_SAFE_NO_PAD.encode("{}")), 1);
    let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let others = URL_SAFE_NO_PAD.encode(other.sign(message.as_bytes()).as_ref());
    // The public key as the secret of an HMAC.
    let hs256 = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"k1"}"#),
        URL_SAFE_NO_PAD.encode(claims())
    );
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, stage.public.as_bytes());
    let mac = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, hs256.as_bytes()).as_ref());
    let texts = [
        format!("{forged}.{signature}"),
        format!("{message}.{others}"),
        format!("{message}."),
        message.to_owned(),
        format!("{hs256}.{mac}"),
        format!("{good}."),
        format!("{good}="),
        format!(" {good}"),
        String::new(),
        "..".into(),
        "a".repeat(CREDENTIAL_BYTES_MAX + 1),
        format!("{good}{}", "A".repeat(CREDENTIAL_BYTES_MAX)),
    ];
    for text in texts {
        assert!(stage.verify(&text).is_err(), "{text}");
    }
}

#[test]
fn elliptic_curves_are_understood() {
    let stage = stage();
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let keys = format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}]}}"#,
        part(&point[1..33]),
        part(&point[33..])
    );
    let stage = Stage {
        keys: KeySet::read(&keys).unwrap(),
        ..stage
    };
    let message = format!(
        "{}.{}",
        part(br#"{"alg":"ES256"}"#),
        part(claims().as_bytes())
    );
    let random = aws_lc_rs::rand::SystemRandom::new();
    let signature = pair.sign(&random, message.as_bytes()).unwrap();
    let text = format!("{message}.{}", part(signature.as_ref()));
    assert_eq!(stage.verify(&text).unwrap().text("sub"), Some("ann"));
    // The other kind of key's signature is not even looked at.
    assert_eq!(
        stage.verify(&stage.sign(HEADER, &claims())),
        Err(TokenError::UnknownKey)
    );
}
