//! Change of the passphrase of a key ring.

use std::fs;

use latchkey_domain::ports::KeyStore as _;
use latchkey_store::key_directory::KeyDirectory;

use super::scene::{Scene, line, passphrase};

fn encrypted(scene: &Scene, kid: &str) -> bool {
    fs::read_to_string(scene.file_of(kid))
        .unwrap()
        .starts_with("-----BEGIN ENCRYPTED ")
}

#[tokio::test]
async fn rewrapped_keys_stay_the_same() {
    let mut scene = Scene::directory();
    let (access, refresh) = scene.first().await;
    let kids = scene.kids().await;
    let both = |scene: &Scene| {
        (
            encrypted(scene, &access.kid),
            encrypted(scene, &refresh.kid),
        )
    };
    assert_eq!(both(&scene), (false, false));

    let one = scene.write("one", "the first passphrase");
    assert_eq!(
        scene
            .manager()
            .rewrap(Some(&passphrase(&one)))
            .await
            .unwrap(),
        2
    );
    assert_eq!(both(&scene), (true, true));
    assert!(
        line(scene.manager().ring().await)
            .contains("is encrypted: set LATCHKEY_KEYS_PASSPHRASE_FILE")
    );
    scene.passphrase = Some(one.clone());
    assert_eq!(scene.kids().await, kids);

    let other = scene.write("other", "the second passphrase");
    assert_eq!(
        scene
            .manager()
            .rewrap(Some(&passphrase(&other)))
            .await
            .unwrap(),
        2
    );
    assert!(
        line(scene.manager().ring().await).contains("cannot be decrypted: the passphrase is wrong")
    );
    scene.passphrase = Some(other);
    assert_eq!(scene.kids().await, kids);

    assert_eq!(scene.manager().rewrap(None).await.unwrap(), 2);
    assert_eq!(both(&scene), (false, false));
    assert_eq!(
        scene.kids().await,
        kids,
        "an unneeded passphrase causes no error"
    );
    scene.passphrase = None;
    assert_eq!(scene.kids().await, kids);
}

#[tokio::test]
async fn interrupted_rewrap_can_be_repeated() {
    let mut scene = Scene::directory();
    scene.encrypt("the first passphrase");
    let (access, _) = scene.first().await;
    let kids = scene.kids().await;
    let new = scene.write("new", "the second passphrase");
    let old_text = fs::read(scene.file_of(&access.kid)).unwrap();
    scene
        .manager()
        .rewrap(Some(&passphrase(&new)))
        .await
        .unwrap();
    fs::write(scene.file_of(&access.kid), old_text).unwrap();

    // Neither passphrase decrypts every key.
    assert!(scene.manager().ring().await.is_err());
    let old = scene.passphrase.replace(new.clone());
    assert!(scene.manager().ring().await.is_err());
    scene.passphrase = old;
    assert_eq!(
        scene
            .manager()
            .rewrap(Some(&passphrase(&new)))
            .await
            .unwrap(),
        2
    );
    scene.passphrase = Some(new);
    assert_eq!(scene.kids().await, kids);
}

#[tokio::test]
async fn unreadable_key_prevents_the_rewrap() {
    let mut scene = Scene::directory();
    scene.encrypt("the first passphrase");
    let (access, _) = scene.first().await;
    let directory = KeyDirectory::new(&scene.keys());
    let new = scene.write("new", "the second passphrase");
    let broken = scene.break_file(&access.kid);
    let before = directory.version().await.unwrap();
    assert!(
        line(scene.manager().rewrap(Some(&passphrase(&new))).await).contains("is not a PEM file")
    );
    assert_eq!(directory.version().await.unwrap(), before);
    broken.repair();

    scene.passphrase = Some(scene.write("wrong", "no passphrase of any key"));
    assert!(
        line(scene.manager().rewrap(Some(&passphrase(&new))).await)
            .contains("the passphrase is wrong")
    );
}

#[tokio::test]
async fn invalid_passphrase_file_is_named() {
    let mut scene = Scene::directory();
    scene.first().await;
    let missing = scene.keys().join("nowhere");
    let short = scene.write("short", "short");
    for (path, reason) in [
        (missing, "cannot be read (No such file"),
        (short, "holds a passphrase of 5 bytes"),
    ] {
        scene.passphrase = Some(path.clone());
        let expected = format!("LATCHKEY_KEYS_PASSPHRASE_FILE: {} {reason}", path.display());
        for refused in [
            line(scene.manager().ring().await),
            line(scene.manager().ensure().await),
        ] {
            assert!(refused.starts_with(&expected), "{refused}");
        }
    }
}
