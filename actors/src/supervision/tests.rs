//! Actors that fail in every way, under supervisors.

mod smoke {
    use actix::{Actor, Context};
    use tokio::sync::oneshot;

    use crate::supervision::{Exit, watch};

    struct Faulty;

    impl Actor for Faulty {
        type Context = Context<Self>;

        fn started(&mut self, _: &mut Self::Context) {
            panic!("at once");
        }
    }

    #[actix::test]
    async fn a_watched_actor_that_panics_is_told() {
        let (tell, told) = oneshot::channel();
        let (addr, _handle) = watch(Faulty, "faulty", |exit| tell.send(exit).unwrap());
        assert_eq!(told.await.unwrap(), Exit::Panicked("at once".into()));
        assert!(!addr.connected());
    }
}
