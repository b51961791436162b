"""A method with a teacher that follows the student: BYOL, in small."""

import keras
from keras import ops

from keras_ssl.trainers import SelfSupervisedModel, serialize_parts
from keras_ssl.trainers.checks import check_image_views


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class MomentumTeacherModel(SelfSupervisedModel):
    def __init__(self, encoder, predictor, augment=None, momentum=0.9, **kwargs):
        super().__init__(encoder, augment, **kwargs)
        self.predictor = predictor
        self.momentum = momentum
        self.teacher = keras.models.clone_model(encoder)
        self.teacher.set_weights(encoder.get_weights())
        self.teacher.trainable = False

    def check_views(self, views):
        check_image_views(views, count=2)

    def embed(self, batch, training):
        first, second = batch.views
        h = [self.encoder(view, training=training) for view in (first, second)]
        targets = [ops.stop_gradient(self.teacher(view)) for view in (second, first)]
        distance = [
            1 - ops.sum(ops.normalize(self.predictor(s)) * ops.normalize(t), axis=-1)
            for s, t in zip(h, targets, strict=True)
        ]
        return {"regression": ops.stack(distance, axis=1), "representation": h[0]}

    def after_update(self):
        pairs = zip(self.teacher.weights, self.encoder.weights, strict=True)
        for teacher, student in pairs:
            teacher.assign(self.momentum * teacher + (1 - self.momentum) * student)

    def get_config(self):
        parts = serialize_parts(predictor=self.predictor)
        return {**super().get_config(), **parts, "momentum": self.momentum}
