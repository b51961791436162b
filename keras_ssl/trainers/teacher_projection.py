"""The teacher that BYOL, MoCo, MoCo v3 and DINO share: of the encoder and of the projector."""

from typing import Any

from keras import ops

from keras_ssl.trainers.momentum_teacher import MomentumTeacher


class TeacherProjection(MomentumTeacher):
    """Mix-in for trainers with an encoder and a projector: a teacher that projects views.

    The teacher is `teacher_encoder` and `teacher_projector`. A trainer calls `follow_projection`
    in its constructor, when it has its own `encoder` and `projector`.
    """

    def follow_projection(self, momentum: Any) -> None:
        """Make the teacher's parts.

        Args:
            momentum: how much of a teacher's weight stays at each step, in [0, 1), or a schedule.

        Raises:
            ValueError: if `momentum` is outside [0, 1).
            TypeError: if it is neither a number nor a schedule.
        """
        self.momentum = momentum
        self.teacher_encoder = self.follow(self.encoder, momentum)
        self.teacher_projector = self.follow(self.projector, momentum)

    def teach(self, view: Any, training: bool) -> Any:
        """Return the teacher's projection of a batch of views, through which no gradient flows.

        Args:
            view: the batch.
            training: whether the teacher's batch normalisation uses the statistics of the batch.

        Returns:
            Tensor of shape `(batch, dim)`.
        """
        h = self.teacher_encoder(view, training=training)
        return ops.stop_gradient(self.teacher_projector(h, training=training))
