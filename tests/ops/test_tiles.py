from keras import ops

from keras_ssl.ops.tiles import loop


def test_the_loop_equals_that_of_keras():
    def body(step, carry):
        total, product = carry
        return total + step, product * 2

    carry = (ops.convert_to_tensor(0, "int32"), ops.convert_to_tensor(1.0))
    for result in (loop(5, body, carry), ops.fori_loop(0, 5, body, carry)):
        assert [float(x) for x in result] == [10, 32]
