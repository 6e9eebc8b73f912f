//! Contract of `UserStore`.

use latchkey_domain::{
    ports::{InsertUserError, UserStore as _},
    time::Moment,
    user::User,
};

use super::store::{
    after, at, audit_event, hash, name, new_user, start, to_micros, unknown_user, with_email,
};

on_both_databases! {
    async fn new_user_is_active_at_epoch_0_with_times_in_microseconds(store: Store) {
        let new = with_email("Ada", "Ada@Example.org");
        let inserted = store.sql.insert(new.clone(), audit_event(start())).await.unwrap();
        let expected = User {
            id: new.id,
            username: "Ada".to_owned(),
            email: inserted.email.clone(),
            first_name: String::new(),
            last_name: String::new(),
            is_active: true,
            is_staff: false,
            session_epoch: 0,
            created_at: to_micros(start()),
            last_login: None,
        };
        assert_eq!(inserted, expected);
        let found = store.sql.find_credentials(&name("Ada")).await.unwrap().unwrap();
        assert_eq!((found.user, found.password_hash.expose()), (expected, "a hash"));
    }

    async fn username_is_case_sensitive_at_sign_in_only(store: Store) {
        let ada = store.user("Ada").await;
        assert!(store.sql.find_credentials(&name("ada")).await.unwrap().is_none());
        assert_eq!(store.sql.find_by_username(&name("aDA")).await.unwrap(), Some(ada));
        assert_eq!(store.sql.find_by_username(&name("bob")).await.unwrap(), None);
    }

    async fn username_and_email_are_unique_ignoring_case(store: Store) {
        store.sql.insert(with_email("Ada", "ada@example.org"), audit_event(start())).await.unwrap();
        let taken = store.sql.insert(new_user("aDa"), audit_event(start())).await;
        assert!(matches!(taken, Err(InsertUserError::UsernameTaken)), "{taken:?}");
        let taken = store.sql.insert(with_email("bob", "ADA@example.ORG"), audit_event(start())).await;
        assert!(matches!(taken, Err(InsertUserError::EmailTaken)), "{taken:?}");
        let taken = store.sql.insert(with_email("ada", "another@example.org"), audit_event(start())).await;
        assert!(matches!(taken, Err(InsertUserError::UsernameTaken)), "{taken:?}");
        assert_eq!(store.sql.find_by_username(&name("bob")).await.unwrap(), None);
    }

    async fn several_users_may_have_no_email(store: Store) {
        store.user("ada").await;
        store.user("bob").await;
        assert_eq!(store.sql.list(None, 10).await.unwrap().len(), 2);
    }

    async fn concurrent_inserts_of_one_name_succeed_once(store: Store) {
        let attempts = (0..32).map(|number| {
            let sql = store.sql.clone();
            tokio::spawn(async move { sql.insert(new_user(if number % 2 == 0 { "Ada" } else { "ADA" }), audit_event(start())).await })
        });
        let mut won = 0;
        for attempt in attempts.collect::<Vec<_>>() {
            match attempt.await.unwrap() {
                Ok(_) => won += 1,
                Err(InsertUserError::UsernameTaken) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((won, store.sql.list(None, 100).await.unwrap().len()), (1, 1));
    }

    async fn list_is_paged_by_id_without_deleted_users(store: Store) {
        assert!(!store.sql.any().await.unwrap());
        for number in 0..5 {
            store.user(&format!("user{number}")).await;
        }
        let all = store.sql.list(None, 100).await.unwrap();
        assert!(all.is_sorted_by(|one, other| one.id < other.id));
        let deleted = &all[3].id;
        store.sql.delete(&at(deleted, after(1))).await.unwrap();
        let first = store.sql.list(None, 3).await.unwrap();
        assert_eq!(first, all[..3]);
        assert_eq!(store.sql.list(Some(&first[2].id), 3).await.unwrap(), all[4..]);
        for user in &all {
            store.sql.delete(&at(&user.id, after(2))).await.unwrap();
        }
        assert!(!store.sql.any().await.unwrap());
    }

    async fn hash_is_replaced_only_if_it_is_unchanged(store: Store) {
        let ada = store.user("ada").await;
        store.sql.replace_hash(&ada.id, &hash("another hash"), &hash("late")).await.unwrap();
        assert_eq!(store.sql.find_credentials(&name("ada")).await.unwrap().unwrap().password_hash.expose(), "a hash");
        store.sql.replace_hash(&ada.id, &hash("a hash"), &hash("new")).await.unwrap();
        let found = store.sql.find_credentials(&name("ada")).await.unwrap().unwrap();
        assert_eq!((found.password_hash.expose(), found.user.session_epoch), ("new", 0));
        store.sql.replace_hash(&unknown_user(), &hash("a hash"), &hash("new")).await.unwrap();
    }

    async fn each_revocation_of_all_sessions_raises_the_epoch_by_one(store: Store) {
        let ada = store.user("ada").await;
        let bob = store.user("bob").await;
        assert_eq!(store.sql.revoke_all_sessions(&at(&ada.id, after(1)), None).await.unwrap().unwrap().session_epoch, 1);
        let changed = store.sql.set_password(&at(&ada.id, after(1)), &hash("new")).await.unwrap().unwrap();
        assert_eq!(changed.session_epoch, 2);
        let found = store.sql.find_credentials(&name("ada")).await.unwrap().unwrap();
        assert_eq!((found.password_hash.expose(), found.user.session_epoch), ("new", 2));
        assert_eq!(store.epoch(&bob).await, 0);
    }

    async fn concurrent_epoch_raises_are_all_counted(store: Store) {
        let ada = store.user("ada").await;
        let all = (0..20).map(|_| {
            let (sql, id) = (store.sql.clone(), ada.id.clone());
            tokio::spawn(async move { sql.revoke_all_sessions(&at(&id, after(1)), None).await.unwrap().unwrap().session_epoch })
        });
        let mut epochs = Vec::new();
        for task in all.collect::<Vec<_>>() {
            epochs.push(task.await.unwrap());
        }
        epochs.sort_unstable();
        assert_eq!(epochs, (1..=20).collect::<Vec<_>>());
    }

    async fn only_a_change_of_activity_raises_the_epoch(store: Store) {
        let ada = store.user("ada").await;
        let still = store.sql.set_active(&at(&ada.id, after(1)), true).await.unwrap().unwrap();
        assert_eq!((still.is_active, still.session_epoch), (true, 0));
        for _ in 0..2 {
            let off = store.sql.set_active(&at(&ada.id, after(2)), false).await.unwrap().unwrap();
            assert_eq!((off.is_active, off.session_epoch), (false, 1));
        }
        let on = store.sql.set_active(&at(&ada.id, after(3)), true).await.unwrap().unwrap();
        assert_eq!((on.is_active, on.session_epoch), (true, 2));
    }

    async fn deletion_frees_name_and_email_and_detaches_sessions(store: Store) {
        let ada = store.sql.insert(with_email("Ada", "ada@example.org"), audit_event(start())).await.unwrap();
        let session = store.session(&ada).await;
        assert_eq!(store.user_of(&session).await, Some(ada.clone()));
        assert_eq!(store.sql.delete(&at(&ada.id, after(1))).await.unwrap(), Some(1));
        assert_eq!(store.user_of(&session).await, None);
        assert!(store.sql.find_credentials(&name("Ada")).await.unwrap().is_none());
        assert_eq!(store.sql.find_by_username(&name("ada")).await.unwrap(), None);

        let second = store.sql.insert(with_email("ada", "Ada@example.org"), audit_event(start())).await.unwrap();
        assert_ne!(second.id, ada.id);
        assert_eq!(store.user_of(&session).await, None);
    }

    async fn deleted_user_cannot_be_changed(store: Store) {
        let ada = store.user("ada").await;
        store.sql.delete(&at(&ada.id, after(1))).await.unwrap();
        for id in [ada.id, unknown_user()] {
            assert_eq!(store.sql.delete(&at(&id, after(2))).await.unwrap(), None);
            assert_eq!(store.sql.revoke_all_sessions(&at(&id, after(2)), None).await.unwrap(), None);
            assert_eq!(store.sql.set_active(&at(&id, after(2)), true).await.unwrap(), None);
            assert_eq!(store.sql.set_active(&at(&id, after(2)), false).await.unwrap(), None);
            assert_eq!(store.sql.set_password(&at(&id, after(2)), &hash("new")).await.unwrap(), None);
        }
    }

    async fn raised_epochs_are_paged_by_time_with_deleted_users(store: Store) {
        let mut users = Vec::new();
        for number in 0..6 {
            users.push(store.user(&format!("user{number}")).await);
        }
        users.sort_by(|one, other| one.id.cmp(&other.id));
        store.sql.revoke_all_sessions(&at(&users[0].id, after(10)), None).await.unwrap();
        store.sql.revoke_all_sessions(&at(&users[1].id, after(20)), None).await.unwrap();
        store.sql.set_active(&at(&users[2].id, after(21)), false).await.unwrap();
        store.sql.set_password(&at(&users[3].id, after(22)), &hash("new")).await.unwrap();
        store.sql.delete(&at(&users[4].id, after(23))).await.unwrap();
        for (user, second) in users[..5].iter().zip([10, 20, 21, 22, 23]) {
            store.stamp_epoch(&user.id, after(second)).await;
        }
        let all: Vec<_> =
            users[1..5].iter().zip(20..).map(|(user, second)| (to_micros(after(second)), user.id.clone(), 1)).collect();
        let key = |number: usize| Some((all[number].0, all[number].1.clone()));
        assert_eq!(store.sql.epochs_raised_since(after(20), None, 10).await.unwrap(), all);
        assert_eq!(store.sql.epochs_raised_since(after(20), None, 2).await.unwrap(), all[..2]);
        assert_eq!(store.sql.epochs_raised_since(after(20), key(1), 2).await.unwrap(), all[2..]);
        assert_eq!(store.sql.epochs_raised_since(after(20), key(3), 2).await.unwrap(), []);
        assert_eq!(store.sql.epochs_raised_since(after(24), None, 10).await.unwrap(), []);
    }

    async fn purge_removes_users_deleted_earlier_up_to_the_limit(store: Store) {
        for number in 0..4 {
            let user = store.user(&format!("user{number}")).await;
            if number > 0 {
                store.sql.delete(&at(&user.id, after(number))).await.unwrap();
            }
        }
        assert_eq!(store.sql.purge(after(1), 10).await.unwrap(), 0);
        assert_eq!(store.sql.purge(after(3), 1).await.unwrap(), 1);
        assert_eq!(store.sql.purge(after(3), 10).await.unwrap(), 1);
        assert_eq!(store.sql.epochs_raised_since(Moment::UNIX_EPOCH, None, 10).await.unwrap().len(), 1);
        assert_eq!(store.sql.list(None, 10).await.unwrap().len(), 1);
    }
}
